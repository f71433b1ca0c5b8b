"""What a build needs, out of a bundle: no graph is made here, so neither onnx nor ONNX Runtime is needed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends.form import GraphForm
from edgeseg.backends.tensorrt.options import TensorRtOptions
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

__all__ = ["stock_of_bundle"]

UInt8 = npt.NDArray[np.uint8]
#: What is settled when a bundle is packed.
SETTLED = (
    *("network", "imgsz", "upsample", "pixel_format", "resize", "mean", "std", "input_range", "channels", "classes"),
    *("output", "threshold", "calib", "calib_frames", "calibrator", "per_tensor", "keep_float"),
)
#: What goes with the frames of the gate.
OF_THE_GATE = ("data", "frames", "gate_frames", "max_drop", "max_class_drop")
#: What is the board's own affair.
OWN = ("model", "precision", "backend")


@dataclass(frozen=True)
class PackedGraphs:
    """The graphs of a bundle."""

    bundle: Bundle

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

    def __len__(self) -> int:
        return len(self.bundle.manifest.gate.frames)

    def __iter__(self) -> Iterator[tuple[str, UInt8]]:
        return ((name, self.bundle.picture(f"gate/{name}.frame.png")) for name in self.bundle.manifest.gate.frames)


@dataclass(frozen=True)
class PackedPairs:
    """Frames of a bundle with their labels, `(H, W)` uint8 at the camera's size."""

    bundle: Bundle

    def __len__(self) -> int:
        return len(self.bundle.manifest.gate.frames)

    def __iter__(self) -> Iterator[tuple[UInt8, UInt8]]:
        frames = PackedFrames(self.bundle)
        return ((frame, self.bundle.picture(f"gate/{name}.label.png")) for name, frame in frames)


def stock_of_bundle(recipe: BuildRecipe) -> Stock:
    """All that a build of the bundle `recipe.model` needs.

    Raises:
        UsageError: There is no such bundle, or an option asks for what is settled in it.
        ModelFileError: It is damaged.
    """
    bundle = Bundle(recipe.model)
    manifest = bundle.manifest
    merged = _merged(recipe, manifest.recipe)
    check_limits(merged)
    quantizations = _quantizations(bundle)
    own = bool(recipe.data or recipe.frames)
    if own:
        ranges = next((one.ranges for one in quantizations.values()), None)
        frames = gate_frames(merged, manifest.card, Calibration(ranges), shipped=False)
    else:
        frames = frames_of_bundle(bundle)
    return Stock(
        merged,
        manifest.card,
        PackedGraphs(bundle),
        quantizations,
        frames,
        answers=None if own else answers_of_bundle(bundle),
        warnings=(*manifest.warnings, *frames.warnings),
    )


def _merged(recipe: BuildRecipe, packed: BuildRecipe) -> BuildRecipe:
    """What was packed, with what is asked for on the board."""
    plain = BuildRecipe()
    asked = {name for name in recipe.__struct_fields__ if getattr(recipe, name) != getattr(plain, name)}
    if settled := [f"--{name.replace('_', '-')}" for name in SETTLED if name in asked]:
        raise UsageError(
            f"{recipe.model} is packed; {', '.join(settled)} can't be changed any more.",
            hint="Pack it anew where its model lies: edgeseg pack MODEL " + " ".join(settled),
        )
    left = {*OWN, *asked, "tensorrt", *(OF_THE_GATE if asked & {"data", "frames"} else ())}
    taken = {name: getattr(packed, name) for name in recipe.__struct_fields__ if name not in left}
    return msgspec.structs.replace(recipe, **taken, tensorrt=_tensorrt(recipe, packed.tensorrt))


def _tensorrt(recipe: BuildRecipe, packed: TensorRtOptions) -> TensorRtOptions:
    asked, plain = recipe.tensorrt, TensorRtOptions()
    if asked.batch not in (None, packed.batch):
        raise UsageError(
            f"{recipe.model} is packed for {packed.batch or 'one frame'} at a time; --batch can't be changed any more.",
            hint="Pack it anew where its model lies: edgeseg pack MODEL --batch",
        )
    names = asked.__struct_fields__
    taken = {name: getattr(packed, name) for name in names if getattr(asked, name) == getattr(plain, name)}
    return msgspec.structs.replace(asked, **taken)


def _quantizations(bundle: Bundle) -> dict[Dialect, Quantization]:
    ranges = {name: _ranges(bundle, name) for name in {one.ranges for one in bundle.manifest.int8.values()}}
    return {name: Quantization(one.recipe, ranges[one.ranges]) for name, one in bundle.manifest.int8.items()}


def _ranges(bundle: Bundle, name: str) -> Ranges:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ranges.npz"
        path.write_bytes(bundle.read(name))
        return load_ranges(path)


def frames_of_bundle(bundle: Bundle) -> GateFrames:
    """The frames that a bundle is judged on."""
    kind = bundle.manifest.gate.kind
    if kind == "labels":
        return GateFrames(kind, labelled=PackedPairs(bundle))
    return GateFrames(kind, plain=PackedFrames(bundle))


def answers_of_bundle(bundle: Bundle) -> FloatAnswers:
    """Float's answers to them."""
    gate, golden = bundle.manifest.gate, bundle.picture("golden.png")
    maps = (bundle.picture(f"gate/{name}.map.png") for name in gate.frames)
    if gate.kind == "labels":
        labels = (bundle.picture(f"gate/{name}.label.png") for name in gate.frames)
        pairs = zip(maps, labels, strict=True)
        return FloatAnswers(golden, tuple(evaluate_answer(*pair, bundle.manifest.card) for pair in pairs))
    sure = (bundle.picture(f"gate/{name}.sure.png") > 0 for name in gate.frames)
    return FloatAnswers(golden, maps=tuple(maps), confident=tuple(np.packbits(one, axis=None) for one in sure))
