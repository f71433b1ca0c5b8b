"""Ranges for a build: those beside the model, or measured anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.build.calibration import Calibration
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.source import OpenedModel
from edgeseg.card import Card
from edgeseg.data.calibration import FrameSet, open_frames
from edgeseg.data.frame_watch import LEAST_DISTINCT, FrameWatch, refuse_blank
from edgeseg.data.resize import frame_for_card
from edgeseg.errors import UsageError
from edgeseg.graph.io import require_card
from edgeseg.quantize.dialects import check_quantizable
from edgeseg.quantize.measure import measure_ranges
from edgeseg.quantize.ranges import Ranges, check_ranges, load_ranges

__all__ = ["as_pixels", "calibrate", "calibrate_and_watch", "calibrate_on", "pixels_of"]

OnProgress = Callable[[float, str], None]
#: Of the calibration frames, every so-manieth is held out: to choose by, and for a gate that has no frames of its own.
HOLD_OUT = 5


def calibrate(recipe: BuildRecipe, model: OpenedModel, prepared: ir.Model, on_progress: OnProgress) -> Calibration:
    """The ranges that a recipe asks for.

    Raises:
        UsageError: INT8 is wanted, and there are neither ranges nor frames to measure them on.
        ModelFileError: The ranges belong to other weights, or the graph has nothing to quantize.
    """
    if recipe.precision != "int8":
        return Calibration()
    check_quantizable(prepared.graph)
    if recipe.calib:
        return _measure(recipe, prepared, on_progress)
    if model.ranges is None:
        raise UsageError(
            f"INT8 needs the ranges of {recipe.model}'s tensors, and no ranges lie beside it.",
            hint="Measure them on a hundred frames like those of the camera: --calib FOLDER|VIDEO",
        )
    ranges = load_ranges(model.ranges)
    warning = check_ranges(ranges, prepared)
    return Calibration(ranges, warnings=((warning,) if warning else ()) + _warn_of_few(ranges))


def _measure(recipe: BuildRecipe, prepared: ir.Model, on_progress: OnProgress) -> Calibration:
    frames = open_frames(recipe.calib, limit=recipe.calib_frames)
    search = held_out = None
    if len(frames) >= HOLD_OUT:
        search = frames.choose(every=HOLD_OUT)
        frames = frames.without(search.keys)
        if not recipe.data and not recipe.frames:
            held_out = search.choose(every=2)
            left = search.without(held_out.keys)
            search = left if len(left) else None
    if not len(frames):
        raise UsageError(f"All frames of {recipe.calib} are the same picture.", hint="Calibrate on varied frames.")
    ranges, warnings = calibrate_and_watch(frames, prepared, on_progress)
    return Calibration(ranges, frames, search, held_out, warnings)


def calibrate_and_watch(
    frames: FrameSet, prepared: ir.Model, on_progress: OnProgress
) -> tuple[Ranges, tuple[str, ...]]:
    """Ranges of a prepared graph, and what is wrong with the frames, a sentence each.

    Raises:
        UsageError: No frame shows anything.
    """
    watch = FrameWatch()
    ranges = calibrate_on(frames.watched(watch.add), prepared, on_progress)
    refuse_blank(watch, frames.source)
    return ranges, watch.warnings()


def _warn_of_few(ranges: Ranges) -> tuple[str, ...]:
    """A warning where ranges that were measured earlier come from too few frames to be trusted."""
    if ranges.frames >= LEAST_DISTINCT:
        return ()
    return (f"Only {ranges.frames} frames were calibrated on; a hundred varied ones are better.",)


def calibrate_on(frames: FrameSet, prepared: ir.Model, on_progress: OnProgress) -> Ranges:
    """Ranges of a prepared graph on frames, told frame by frame."""
    card = require_card(prepared)

    def tell(done: int) -> None:
        on_progress(done / len(frames), f"calibrate, frame {done} of {len(frames)}")

    return measure_ranges(
        prepared, pixels_of(frames, card), calibration_sha256=frames.sha256, frame_keys=frames.keys, on_frame=tell
    )


def pixels_of(frames: FrameSet, card: Card) -> Iterator[npt.NDArray[np.float32]]:
    """What a prepared graph takes of each frame, see `as_pixels`."""
    return (as_pixels(frame, card) for _, frame in frames)


def as_pixels(frame: npt.NDArray[np.uint8], card: Card) -> npt.NDArray[np.float32]:
    """What a prepared graph takes of a frame `(H, W, 3)` uint8 BGR: `(N, 3, h, w)` float32, frame - 128."""
    slot = np.empty((*card.fixed_size_hw, len(card.preprocess.pixel_format)), np.uint8)
    frame_for_card(frame, card.preprocess, slot)
    pixels = slot[..., :3].transpose(2, 0, 1).astype(np.float32) - np.float32(128)
    return np.repeat(pixels[None], card.batch, 0)
