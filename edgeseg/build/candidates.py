"""The engines that a build tries: which graph on which backend."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from edgeseg.backends import Backend, Engine, EngineOptions, installed_backends, open_backend
from edgeseg.backends.form import GraphForm
from edgeseg.backends.tensorrt.calibration import calibration_cache
from edgeseg.backends.tensorrt.layers import read_layers, types_read
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.build.graph_facts import Graphs, Quantization
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.store import cache_beside, graph_beside
from edgeseg.card import Dialect, Precision
from edgeseg.errors import MissingDependency, UsageError
from edgeseg.files import write_bytes

__all__ = ["Built", "Candidate", "build_candidate", "find_backends", "plan"]

INSTALL = "Install one for the processor: pip install 'edgeseg[onnxruntime,openvino,vision]'"


@dataclass(frozen=True)
class Candidate:
    """One engine to be tried. A `reference` is measured and shown, and never picked.

    Attributes:
        spare_depthwise: Depthwise convolutions stay in float too.
        own_tail: The graph ends with its logits, and the backend picks the best class.
        is_baseline: All others are compared with it.
        rest: Float precision of what INT8 leaves in float; None is the backend's usual one.
    """

    backend: Backend
    precision: Precision
    dialect: Dialect
    role: Literal["candidate", "reference"]
    spare_depthwise: bool = False
    own_tail: bool = False
    is_baseline: bool = False
    rest: Precision | None = None

    def form(self, tensorrt: TensorRtOptions) -> GraphForm:
        """The graph that it is built from."""
        return self.backend.form(
            self.dialect, self.options(tensorrt), spare_depthwise=self.spare_depthwise, own_tail=self.own_tail
        )

    def options(self, tensorrt: TensorRtOptions) -> EngineOptions:
        """What its library is told."""
        precision = self.precision if self.dialect == "float" else self.rest or self.backend.rest
        return EngineOptions(precision=precision, tensorrt=tensorrt)

    @property
    def name(self) -> str:
        """Unique among the candidates of a build."""
        spared = f", depthwise in {self.rest or self.backend.rest}" if self.spare_depthwise else ""
        rest = f", rest in {self.rest}" if self.rest else ""
        tail = ", own tail" if self.own_tail else ""
        return f"{self.backend.name} {self.precision} {self.dialect}{spared}{rest}{tail}"

    def otherwise(self) -> Iterator[Candidate]:
        """What is tried where its library refuses it: a tail of our own, then types that every version takes."""
        if self.backend.own_tail and not self.own_tail:
            yield dataclasses.replace(self, own_tail=True)
        if self.dialect != "float" and self.backend.typed and self.backend.rest != "fp32":
            yield dataclasses.replace(self, rest="fp32")


@dataclass(frozen=True)
class Built:
    """A candidate's engine.

    Attributes:
        quantization: None for float engines.
        graph_sha256: Canonical hash of the graph that it was built from.
        int8_convs, total_convs: Convolutions with Q/DQ on input and weights, and all.
        float_nodes: Convolutions and other heavy operators without.
        not_int8: Convolutions with Q/DQ that the library runs in float all the same, where it tells.
        untold: Convolutions with Q/DQ of which a library of native code does not tell what they compute in.
        seconds: That its library took to build it.
    """

    candidate: Candidate
    engine: Engine
    quantization: Quantization | None
    graph_sha256: str
    int8_convs: int
    total_convs: int
    float_nodes: tuple[str, ...]
    not_int8: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    seconds: float = 0.0


def plan(recipe: BuildRecipe, backends: list[Backend], graphs: Graphs) -> list[Candidate]:
    """What to build: the baseline first, then other references, then candidates with the likeliest fastest first.

    The baseline is float32 on ONNX Runtime, and where that is not at hand on the first backend.

    Args:
        recipe: Names the precision.
        backends: See `find_backends`.
        graphs: Where one is missing, its candidate is left out.

    Raises:
        UsageError: No backend asked for runs that precision, or there are no graphs for it.
    """
    wanted = [
        Candidate(backend, recipe.precision, dialect, "candidate", spare)
        for backend in backends
        for dialect in (backend.dialects if recipe.precision == "int8" else ("float",))
        for spare in ((False, True) if recipe.precision == "int8" and backend.spares_depthwise else (False,))
        if recipe.precision == "int8" or recipe.precision in backend.floats
    ]
    names = ", ".join(backend.name for backend in backends)
    if not wanted:
        possible = sorted({"int8", *(precision for backend in backends for precision in backend.floats)})
        raise UsageError(
            f"{names} can't run {recipe.precision} on this machine.",
            hint="Possible here: " + ", ".join(f"--{precision}" for precision in possible) + ".",
        )
    every = {one.name: one for one in (*_references(backends), *wanted) if graphs.has(one.form(recipe.tensorrt))}
    first = next((one for one in every.values() if (one.precision, one.dialect) == ("fp32", "float")), None)
    if first is None or not any(one.role == "candidate" for one in every.values()):
        raise UsageError(
            f"{recipe.model} holds no {recipe.precision} graphs for {names}.",
            hint=graphs.hint,
        )
    others = (one for one in every.values() if one is not first)
    return [dataclasses.replace(first, is_baseline=True), *sorted(others, key=lambda one: one.role == "candidate")]


def find_backends(recipe: BuildRecipe) -> list[Backend]:
    """The backends that a recipe asks for.

    Raises:
        UsageError: There is none of that name.
        MissingDependency: No engine library is installed.
    """
    if recipe.backend != "auto":
        return [open_backend(recipe.backend)]
    found = {backend: backend.obstacle() for backend in installed_backends()}
    backends = [backend for backend, obstacle in found.items() if not obstacle]
    if found and not backends:
        reasons = "; ".join(f"{backend.name}: {obstacle}" for backend, obstacle in found.items())
        raise MissingDependency(f"No installed engine library can run here: {reasons}.", hint=INSTALL)
    if not backends:
        raise MissingDependency("No engine library is installed.", hint=INSTALL)
    return backends


def _references(backends: list[Backend]) -> list[Candidate]:
    """The float engines of ONNX Runtime, which everything is compared with, and of the backends asked for."""
    known = {backend.name: backend for backend in backends}
    if "onnxruntime" not in known:
        with contextlib.suppress(MissingDependency):
            known = {"onnxruntime": open_backend("onnxruntime"), **known}
    first = sorted(known.values(), key=lambda backend: backend.name != "onnxruntime")
    return [Candidate(backend, precision, "float", "reference") for backend in first for precision in backend.floats]


def build_candidate(
    candidate: Candidate,
    graphs: Graphs,
    quantization: Quantization | None,
    recipe: BuildRecipe,
    folder: Path,
    on_progress: Callable[[float, str], None] = lambda *_: None,
) -> Built:
    """Build one engine in a new folder inside `folder`.

    Args:
        candidate: What to build.
        graphs: Has the graph that it is built from.
        quantization: How that is quantized; None for float engines.
        recipe: Options of the library.
        folder: Gets the new folder.
        on_progress: Told the share done of what the library is at, 0 to 1, and its name.

    Raises:
        UsageError: No such calibrator or node.
        ModelFileError: The library refuses the graph, or the ranges are of other weights.
    """
    backend, options = candidate.backend, candidate.options(recipe.tensorrt)
    own = Path(tempfile.mkdtemp(prefix=candidate.name.replace(" ", "-") + "-", dir=folder))
    source = own / "source.onnx"
    form = candidate.form(recipe.tensorrt)
    facts = graphs.write(form, quantization, source)
    height, width = facts.card.fixed_size_hw
    card = msgspec.structs.replace(
        facts.card,
        made_from={**facts.card.made_from, "recipe": recipe.sha256()},
        measured={**facts.card.measured, "form": msgspec.to_builtins(form)},
    )
    name = f"{card.model}-{height}x{width}-{candidate.precision}-{backend.name}{backend.suffix}"
    if facts.cache is not None:
        write_bytes(cache_beside(own / name), calibration_cache(facts.cache, backend.version()))
        options = dataclasses.replace(options, calibration=cache_beside(own / name))
    begun = time.perf_counter()
    engine = backend.build(source, own / name, options, on_progress, card)
    seconds = time.perf_counter() - begun
    if backend.native:
        source.replace(graph_beside(engine.path))
    else:
        source.unlink()
    types = types_read(read_layers(engine.path), facts.quantized)
    missed = tuple(name for name in facts.quantized if types.get(name, "int8") != "int8")
    untold = tuple(name for name in facts.quantized if name not in types) if backend.native else ()
    return Built(
        candidate,
        engine,
        quantization,
        facts.sha256,
        len(facts.quantized),
        facts.total_convs,
        facts.float_nodes,
        missed,
        untold,
        seconds,
    )
