"""Engines to be timed: neither gated nor kept, and quantized by the ranges that go with each model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import onnx_ir as ir

from edgeseg.backends import Backend
from edgeseg.backends.form import GraphForm
from edgeseg.bench.budget.space import Network
from edgeseg.build.calibrate import calibrate
from edgeseg.build.calibration import Calibration
from edgeseg.build.candidates import Built, Candidate, build_candidate, plan
from edgeseg.build.engine_graph import MadeGraphs
from edgeseg.build.graph_facts import GraphFacts, Quantization
from edgeseg.build.quantizations import AUTO, first_recipe
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.source import OpenedModel, open_model
from edgeseg.card import Card, Dialect, Precision, Upsample
from edgeseg.errors import EngineMismatch, ModelFileError, UsageError
from edgeseg.graph.cost import count_macs
from edgeseg.graph.io import require_card
from edgeseg.graph.prepare import prepare_graph
from edgeseg.quantize.dialects import quantize_onnx

__all__ = ["Workshop"]


@dataclass(frozen=True)
class _Graphs:
    """Graphs of one size, quantized once for all tails (see `Graphs`)."""

    prepared: ir.Model
    upsample: Upsample
    quantized: dict[Dialect, ir.Model]
    hint: str = ""

    def has(self, form: GraphForm) -> bool:
        return MadeGraphs(self.prepared, self.upsample).has(form)

    def write(self, form: GraphForm, quantization: Quantization | None, path: Path) -> GraphFacts:
        if quantization is None or form.cache or form.spare_depthwise:
            return MadeGraphs(self.prepared, self.upsample).write(form, quantization, path)
        if form.dialect not in self.quantized:
            self.quantized[form.dialect] = quantize_onnx(
                self.prepared, quantization.ranges, dialect=form.dialect, recipe=quantization.recipe
            )
        return MadeGraphs(self.quantized[form.dialect], self.upsample).write(form, None, path)


@dataclass
class Workshop:
    """Builds engines of designs; what sizes, tails and precisions have in common is made once.

    Args:
        recipe: What holds for all of them.
        folder: Gets the engines.
    """

    recipe: BuildRecipe
    folder: Path
    _opened: dict[str, OpenedModel] = field(default_factory=dict)
    _calibrations: dict[str, Calibration] = field(default_factory=dict)
    #: The last network and size, prepared, and its quantized graphs.
    _last: tuple[tuple[str, tuple[int, int] | None], ir.Model, dict[Dialect, ir.Model]] | None = None

    def network(self, model: str) -> Network:
        """A model at its own size, or that of the recipe.

        Raises:
            UsageError: There is no such model, or its options do not fit.
            ModelFileError: It can't be prepared.
        """
        prepared, _ = self._prepared(model, self.recipe.imgsz)
        card, logits = require_card(prepared), prepared.graph.outputs[0].shape
        assert logits is not None and logits.is_static(), "every shape of a prepared graph is fixed"
        height, width = card.fixed_size_hw
        taken = self._opened[model].graph.graph.inputs[0].shape
        return Network(
            model,
            card,
            (int(logits.numpy()[2]), int(logits.numpy()[3])),
            count_macs(prepared, (height, width)),
            taken is not None and not all(isinstance(side, int) for side in list(taken)[1:]),
        )

    def calibration(self, model: str, on_progress: Callable[[float, str], None] = lambda *_: None) -> Calibration:
        """Ranges of a model: those that lie beside it, or measured once, at its own size.

        Raises:
            UsageError: There are neither ranges nor frames.
            ModelFileError: The ranges are of other weights.
        """
        if model not in self._calibrations:
            prepared, _ = self._prepared(model, self.recipe.imgsz)
            recipe = msgspec.structs.replace(self.recipe, model=model, precision="int8")
            self._calibrations[model] = calibrate(recipe, self._opened[model], prepared, on_progress)
        return self._calibrations[model]

    def candidates(
        self, network: Network, precision: Precision, backends: list[Backend], *, needed: bool
    ) -> list[Candidate]:
        """The ways in which a precision can be run here; none where no library can.

        Raises:
            UsageError: None can, and it is needed.
        """
        recipe = msgspec.structs.replace(self.recipe, model=network.model, precision=precision)
        try:
            return [one for one in self._planned(network, recipe, backends) if one.role == "candidate"]
        except UsageError:
            if needed:
                raise
            return []

    def baseline(self, network: Network, backends: list[Backend]) -> Candidate:
        """What engines are compared with: float32, on ONNX Runtime where that is at hand.

        Raises:
            UsageError: No library runs float32 here.
        """
        recipe = msgspec.structs.replace(self.recipe, model=network.model, precision="fp32")
        return next(one for one in self._planned(network, recipe, backends) if one.is_baseline)

    def _planned(self, network: Network, recipe: BuildRecipe, backends: list[Backend]) -> list[Candidate]:
        prepared, quantized = self._prepared(network.model, self.recipe.imgsz)
        return plan(recipe, backends, _Graphs(prepared, self.recipe.upsample, quantized))

    def build(self, model: str, size_hw: tuple[int, int] | None, upsample: Upsample, candidate: Candidate) -> Built:
        """An engine, as its library takes it.

        Args:
            model: A shipped model, an ONNX file, or a checkpoint.
            size_hw: Height and width of the network's input; None is the model's own.
            upsample: Size at which the best class is picked.
            candidate: What runs it.

        Raises:
            UsageError, ModelFileError, EngineMismatch: The graph can't be brought to that size or form, or the library
                refuses it.
        """
        prepared, quantized = self._prepared(model, size_hw)
        graphs = _Graphs(prepared, upsample, quantized)
        quantization = self._quantization(model, candidate.dialect, require_card(prepared))
        ways = (candidate, *(one for one in candidate.otherwise() if graphs.has(one.form(self.recipe.tensorrt))))
        for one in ways[:-1]:
            try:
                return build_candidate(one, graphs, quantization, self.recipe, self.folder)
            except (ModelFileError, EngineMismatch):
                continue
        return build_candidate(ways[-1], graphs, quantization, self.recipe, self.folder)

    def _quantization(self, model: str, dialect: Dialect, card: Card) -> Quantization | None:
        if dialect == "float":
            return None
        ranges = self.calibration(model).ranges
        assert ranges is not None, "ranges of INT8 were measured, or that failed"
        named = "" if self.recipe.calibrator == AUTO else self.recipe.calibrator
        return Quantization(first_recipe(msgspec.structs.replace(self.recipe, calibrator=named), card, dialect), ranges)

    def _prepared(self, model: str, size_hw: tuple[int, int] | None) -> tuple[ir.Model, dict[Dialect, ir.Model]]:
        if self._last is None or self._last[0] != (model, size_hw):
            recipe = msgspec.structs.replace(self.recipe, model=model)
            if model not in self._opened:
                self._opened[model] = open_model(recipe)
            opened = self._opened[model]
            prepared = prepare_graph(opened.graph, opened.about, size_hw=size_hw)
            self._last = (model, size_hw), prepared, {}
        return self._last[1], self._last[2]
