"""What a build needs, out of a bundle: no graph is made here, so neither onnx nor ONNX Runtime is needed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends.form import GraphForm
from edgeseg.build.bundle import Bundle, graph_name
from edgeseg.build.calibration import Calibration
from edgeseg.build.gate import GateFrames, check_limits, gate_frames
from edgeseg.build.graph_facts import GraphFacts, Quantization
from edgeseg.build.judge import FloatAnswers
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.stock import Stock
from edgeseg.card import Dialect
from edgeseg.errors import UsageError
from edgeseg.evaluate import evaluate_answer
from edgeseg.files import write_bytes
from edgeseg.quantize.ranges import Ranges, load_ranges

__all__ = ["SETTLED", "recipe_for_bundle", "stock_of_bundle"]

UInt8 = npt.NDArray[np.uint8]
#: What is settled when a bundle is packed.
SETTLED = (
    *("network", "imgsz", "upsample", "pixel_format", "resize", "mean", "std", "input_range", "channels", "classes"),
    *("output", "threshold", "calib", "calib_frames", "calibrator", "per_tensor", "keep_float"),
)
#: What goes with the frames of the gate.
OF_THE_GATE = ("data", "frames", "gate_frames", "max_drop", "max_class_drop", "min_agreement", "min_class_iou")


@dataclass(frozen=True)
class PackedGraphs:
    """The graphs of a bundle."""

    bundle: Bundle

    @property
    def hint(self) -> str:
        """See `Graphs.hint`."""
        left_out = [one for one in self.bundle.manifest.warnings if " is left out: " in one]
        accelerator = (
            "" if any(one.form.cache for one in self.bundle.manifest.graphs) else ", for a DLA with --dla-core"
        )
        pack = f"Pack it for them where its model lies: edgeseg pack MODEL --backend NAME{accelerator}"
        return " ".join((*left_out, "Float graphs it has: --fp16 or --fp32." if left_out else pack))

    def has(self, form: GraphForm) -> bool:
        """See `Graphs.has`."""
        return any(one.form == form for one in self.bundle.manifest.graphs)

    def write(self, form: GraphForm, quantization: Quantization | None, path: Path) -> GraphFacts:
        """See `Graphs.write`. The graph is as it was packed."""
        write_bytes(path, self.bundle.read(graph_name(form)))
        return next(one.facts for one in self.bundle.manifest.graphs if one.form == form)


@dataclass(frozen=True)
class PackedFrames:
    """Frames `(h, w, 3)` uint8 BGR of a bundle, each after its name, decoded anew at each use."""

    bundle: Bundle
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, UInt8]]:
        return ((name, self.bundle.picture(f"gate/{name}.frame.png", channels=3)) for name in self.names)


@dataclass(frozen=True)
class PackedPairs:
    """Frames of a bundle with their labels, `(H, W)` uint8 at the camera's size."""

    frames: PackedFrames

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[tuple[UInt8, UInt8]]:
        bundle = self.frames.bundle
        return ((frame, bundle.picture(f"gate/{name}.label.png", sized=False)) for name, frame in self.frames)


def recipe_for_bundle(path: str, given: dict[str, Any], tensorrt: dict[str, Any]) -> BuildRecipe:
    """What was packed, to begin a recipe with on a board; the board's own library and accelerator are left open.

    Args:
        path: Of the bundle.
        given: Fields that are asked for on the board; where frames are among them, the packed limits fall too.
        tensorrt: The same of the [tensorrt] table.

    Raises:
        UsageError: There is no such bundle, or what is settled in it is asked for otherwise.
        ModelFileError: It is damaged.
    """
    packed, plain = Bundle(path).manifest.recipe, BuildRecipe()
    _refuse_settled(path, {name: given[name] for name in SETTLED if name in given}, packed)
    if tensorrt.get("batch", packed.tensorrt.batch) != packed.tensorrt.batch:
        raise UsageError(
            f"{path} is packed for {packed.tensorrt.batch or 'one frame'} at a time; --batch can't be changed.",
            hint="Pack it anew where its model lies: edgeseg pack MODEL --batch MIN,OPT,MAX",
        )
    others = OF_THE_GATE if {"data", "frames"} & set(given) else ()
    return msgspec.structs.replace(
        packed,
        model=path,
        backend="auto",
        tensorrt=msgspec.structs.replace(packed.tensorrt, dla_core=None),
        **{name: getattr(plain, name) for name in others},
    )


def _refuse_settled(path: str, asked: dict[str, Any], packed: BuildRecipe) -> None:
    changed = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value != getattr(packed, name)]
    if changed:
        raise UsageError(
            f"{path} is packed; {', '.join(changed)} can't be changed any more.",
            hint="Pack it anew where its model lies: edgeseg pack MODEL " + " ".join(changed),
        )


def stock_of_bundle(recipe: BuildRecipe) -> Stock:
    """All that a build of the bundle `recipe.model` needs.

    Args:
        recipe: Made with `recipe_for_bundle`, or by hand: what is settled in the bundle may be left out of it.

    Raises:
        UsageError: There is no such bundle, or the recipe asks for what is settled in it otherwise.
        ModelFileError: It is damaged.
    """
    bundle, plain = Bundle(recipe.model), BuildRecipe()
    manifest = bundle.manifest
    asked = {name: getattr(recipe, name) for name in SETTLED if getattr(recipe, name) != getattr(plain, name)}
    _refuse_settled(recipe.model, asked, manifest.recipe)
    settled = {name: getattr(manifest.recipe, name) for name in SETTLED}
    tensorrt = msgspec.structs.replace(recipe.tensorrt, batch=manifest.recipe.tensorrt.batch)
    full = msgspec.structs.replace(recipe, **settled, tensorrt=tensorrt)
    quantizations = _quantizations(bundle)
    frames, answers = _gate(bundle, full, quantizations)
    return Stock(
        full,
        manifest.card,
        PackedGraphs(bundle),
        quantizations,
        frames,
        answers=answers,
        warnings=manifest.warnings,
    )


def _gate(
    bundle: Bundle, recipe: BuildRecipe, quantizations: dict[Dialect, Quantization]
) -> tuple[GateFrames, FloatAnswers | None]:
    """The packed frames with float's answers, or others, to which it has none yet."""
    manifest = bundle.manifest
    packed = (manifest.recipe.data, manifest.recipe.frames)
    if (recipe.data or recipe.frames) and (recipe.data, recipe.frames) != packed:
        check_limits(recipe)
        ranges = next((one.ranges for one in quantizations.values()), None)
        calibration = Calibration(ranges, chosen_by=manifest.search_keys)
        return gate_frames(recipe, manifest.card, calibration, shipped=False), None
    if manifest.gate.kind != "labels":
        check_limits(msgspec.structs.replace(recipe, data="", frames=""))
    every = manifest.gate.frames
    count = min(len(every), recipe.gate_frames or len(every))
    names = tuple(every[index] for index in np.linspace(0, len(every) - 1, count).round().astype(int))
    frames = PackedFrames(bundle, names)
    warnings = manifest.gate.warnings
    if manifest.gate.kind == "labels":
        return GateFrames("labels", labelled=PackedPairs(frames), warnings=warnings), _answers(frames)
    return GateFrames(manifest.gate.kind, plain=frames, warnings=warnings), _answers(frames)


def _quantizations(bundle: Bundle) -> dict[Dialect, Quantization]:
    ranges = {name: _ranges(bundle, name) for name in {one.ranges for one in bundle.manifest.int8.values()}}
    return {name: Quantization(one.recipe, ranges[one.ranges]) for name, one in bundle.manifest.int8.items()}


def _ranges(bundle: Bundle, name: str) -> Ranges:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ranges.npz"
        path.write_bytes(bundle.read(name))
        return load_ranges(path)


def _answers(frames: PackedFrames) -> FloatAnswers:
    """Float's answers to them."""
    bundle, manifest = frames.bundle, frames.bundle.manifest
    golden = bundle.picture("golden.png")
    maps = (bundle.picture(f"gate/{name}.map.png") for name in frames.names)
    if manifest.gate.kind == "labels":
        labels = (bundle.picture(f"gate/{name}.label.png", sized=False) for name in frames.names)
        pairs = zip(maps, labels, strict=True)
        return FloatAnswers(golden, tuple(evaluate_answer(*pair, manifest.card) for pair in pairs))
    sure = (bundle.picture(f"gate/{name}.sure.png") > 0 for name in frames.names)
    return FloatAnswers(golden, maps=tuple(maps), confident=tuple(np.packbits(one, axis=None) for one in sure))
