"""Build recipes: all that the result of `edgeseg build` depends on, from options or a TOML file."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.card import PixelFormat, Precision, Preprocess, Resize, Upsample
from edgeseg.catalog import DEFAULT_MODEL
from edgeseg.errors import UsageError
from edgeseg.files import sha256_bytes

__all__ = ["PREFERENCES", "PREPROCESSING", "BuildRecipe", "Prefer", "preprocess_of", "refuse_options"]

Side = Annotated[int, msgspec.Meta(ge=16, le=8192)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Prefer = Literal["accuracy", "speed", "balanced"]
#: What a network was trained with, which only a user can know of one that edgeseg did not train.
PREPROCESSING = ("mean", "std", "input_range", "channels")
#: Which engine is kept, a sentence each.
PREFERENCES: dict[Prefer, str] = {
    "balanced": "the fastest that passes, INT8 only if it is 5 % faster than the fastest float engine",
    "speed": "the fastest that passes, by however little",
    "accuracy": "of those that pass and are faster than the baseline, the one that loses least",
}


class BuildRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to build, and how it is judged.

    Attributes:
        model: A shipped model, an ONNX file, or a checkpoint.
        network: For a checkpoint that does not say it: its name in the registry.
        precision: `int8`, or a float precision of the backends.
        backend: A name, or `auto` for all that are installed.
        imgsz: Height and width of the network's input, pixels; None takes the model's own.
        upsample: Size at which the best class is picked.
        pixel_format: Of the frames that the engine takes.
        calib: Source of frames to measure ranges on; empty takes the ranges beside the model.
        calib_frames: At most so many of them, evenly spaced.
        calibrator: Picks thresholds from the ranges: `minmax`, `percentile`, `percentile:99.9`, `entropy`, `mse`, or
            `auto` for the one that frames held out from calibration like best; empty follows the model's own recipe,
            and is `minmax` where it has none.
        per_tensor: One scale for all weights of an operator, as some accelerators need.
        keep_float: Names of nodes that stay in float.
        repair: Where no engine passes the gate, repair the graph until one does.
        prefer: Which of the engines that pass is picked, see `PREFERENCES`.
        even_if_slower: No float engine takes the place of an INT8 one that passes.
        data: Labelled frames to gate on.
        frames: Frames without labels to gate on.
        gate_frames: At most so many of them, evenly spaced; None is all labelled ones, and 100 of others.
        max_drop: Largest drop of mIoU in points; None is 0.5. Needs `data`.
        max_class_drop: Largest drop of one class's IoU in points; None is 2.0. Needs `data`.
        min_agreement: Percent of the confident pixels that must have float's class, where there are no labels.
        min_class_iou: Points of IoU against float that each class must have there.
        min_class_share: Percent of the pixels from which on a class gates by itself; smaller ones are only reported.
        duration: Seconds for timing all engines in turns.
        mean, std: For models without a card: what the network was trained with, for pixels up to `input_range`.
        input_range: Largest pixel value that `mean` and `std` are for; None takes 255 where one is above 1.
        channels: For models without a card: the order the network was trained on; None is rgb.
        classes: For models without a card: as `edgeseg.labels.label_set` takes them.
        output: Tensor that holds the logits, where a graph has several outputs.
        threshold: For one channel: class 1 is above it.
        resize: How frames get to the network's size.
        tensorrt: Options of TensorRT and TensorRT-RTX.
    """

    model: str = DEFAULT_MODEL
    network: str = ""
    precision: Precision = "int8"
    backend: str = "auto"
    imgsz: tuple[Side, Side] | None = None
    upsample: Upsample = "half"
    pixel_format: PixelFormat | None = None
    calib: str = ""
    calib_frames: Count = 100
    calibrator: str = ""
    per_tensor: bool = False
    keep_float: tuple[str, ...] = ()
    data: str = ""
    frames: str = ""
    gate_frames: Count | None = None
    max_drop: float | None = None
    max_class_drop: float | None = None
    min_agreement: Percent = 96.0
    min_class_iou: Percent = 80.0
    min_class_share: Annotated[float, msgspec.Meta(ge=0, lt=100)] = 1.0
    repair: bool = True
    prefer: Prefer = "balanced"
    even_if_slower: bool = False
    duration: Positive = 6.0
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    input_range: Literal[1, 255] | None = None
    channels: Literal["rgb", "bgr"] | None = None
    classes: str = ""
    output: str | None = None
    threshold: float | None = None
    resize: Resize | None = None
    tensorrt: TensorRtOptions = TensorRtOptions()

    def sha256(self) -> str:
        """Hash of all that is asked for."""
        return sha256_bytes(msgspec.json.encode(self))


def preprocess_of(recipe: BuildRecipe) -> Preprocess:
    """What a recipe says of a network without a card.

    Raises:
        UsageError: Mean or deviation are missing or can't be meant so.
    """
    if recipe.mean is None or recipe.std is None:
        raise UsageError(
            f"{recipe.model} has no card, so its preprocessing can't be known.",
            hint="Say what it was trained with, as on ImageNet: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
        )
    if not all(math.isfinite(value) for value in (*recipe.mean, *recipe.std)):
        raise UsageError(
            f"--mean {recipe.mean} and --std {recipe.std} must be numbers.", hint="As in --mean 0.485,0.456,0.406"
        )
    if min(recipe.std) <= 0:
        raise UsageError(
            f"--std is {recipe.std}; deviations are above 0.", hint="As on ImageNet: --std 0.229,0.224,0.225"
        )
    bytes_meant = max(*map(abs, recipe.mean), *recipe.std) > 1
    if recipe.input_range == 1 and bytes_meant:
        raise UsageError(
            f"--mean {recipe.mean} and --std {recipe.std} are no values for pixels of 0 to 1.",
            hint="If they are meant for pixel values of 0 to 255, leave out --input-range.",
        )
    unit = 1 if recipe.input_range == 255 or bytes_meant else 255
    mean, std = (tuple(round(value * unit, 6) for value in values) for values in (recipe.mean, recipe.std))
    return Preprocess(
        pixel_format=recipe.pixel_format or "bgr",
        channels=recipe.channels or "rgb",
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        resize=recipe.resize or Resize(),
    )


def refuse_options(recipe: BuildRecipe, options: tuple[str, ...], why: str) -> None:
    """Refuse options that would have no effect.

    Raises:
        UsageError: Some are given.
    """
    given = [f"--{name.replace('_', '-')}" for name in options if getattr(recipe, name) not in (None, "")]
    if given:
        raise UsageError(
            f"{recipe.model} {why}; {', '.join(given)} can't be given.", hint=f"Leave out {', '.join(given)}."
        )
