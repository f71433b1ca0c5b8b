"""Ranges for a build: those beside the model, or measured anew."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.source import Source
from edgeseg.card import Card
from edgeseg.data.calibration import FrameSet, open_frames
from edgeseg.data.resize import frame_for_card
from edgeseg.errors import UsageError
from edgeseg.graph.io import graph_card
from edgeseg.quantize.ranges import Ranges, check_ranges, load_ranges, measure_ranges, pixels_from_frame

__all__ = ["Calibration", "calibrate"]

logger = logging.getLogger(__name__)

UInt8 = npt.NDArray[np.uint8]
#: Of the calibration frames, every so-manieth is held out for the gate where it has no frames of its own.
HOLD_OUT = 5
LEAST_FRAMES = 32


@dataclass(frozen=True)
class Calibration:
    """Ranges, and what the gate must know of how they came about.

    Attributes:
        ranges: None for float engines.
        held_out: BGR frames of the calibration source that were not calibrated on.
        seen: Bytes of the inputs that were calibrated on.
        warnings: Sentences.
    """

    ranges: Ranges | None = None
    held_out: tuple[UInt8, ...] = ()
    seen: frozenset[bytes] = frozenset()
    warnings: tuple[str, ...] = ()


def calibrate(
    recipe: BuildRecipe, source: Source, prepared: ir.Model, on_progress: Callable[[float, str], None]
) -> Calibration:
    """The ranges that a recipe asks for.

    Raises:
        UsageError: INT8 is wanted, and there are neither ranges nor frames to measure them on.
        ModelFileError: The ranges belong to other weights.
    """
    if recipe.precision != "int8":
        return Calibration()
    if not recipe.calib:
        if source.ranges is None:
            raise UsageError(
                f"INT8 needs the ranges of {recipe.model}'s tensors, and no ranges lie beside it.",
                hint="Measure them on a hundred frames like those of the camera: --calib FOLDER|VIDEO",
            )
        ranges = load_ranges(source.ranges)
        warning = check_ranges(ranges, prepared)
        return Calibration(ranges, warnings=(warning,) if warning else ())
    frames = open_frames(recipe.calib, limit=recipe.calib_frames)
    return _measure(recipe, frames, prepared, on_progress)


def _measure(
    recipe: BuildRecipe, frames: FrameSet, prepared: ir.Model, on_progress: Callable[[float, str], None]
) -> Calibration:
    card = graph_card(prepared)
    if card is None or card.size_hw is None:
        raise UsageError("The prepared graph has no card.")
    hold_out = not recipe.data and not recipe.frames and len(frames) > HOLD_OUT
    held: list[UInt8] = []
    seen: set[bytes] = set()

    def pixels() -> object:
        for index, (_, frame) in enumerate(frames):
            if hold_out and index % HOLD_OUT == HOLD_OUT - 1:
                held.append(frame)
                continue
            fitted = fit(frame, card)
            seen.add(fitted.tobytes())
            yield pixels_from_frame(fitted[0])
            on_progress((index + 1) / len(frames), f"calibrate, frame {index + 1} of {len(frames)}")

    ranges = measure_ranges(prepared, pixels(), calibration_sha256=frames.sha256)  # type: ignore[arg-type]
    warnings = ()
    if ranges.frames < LEAST_FRAMES:
        warnings = (f"Only {ranges.frames} frames were calibrated on; a hundred varied ones are better.",)
    return Calibration(ranges, tuple(held), frozenset(seen), warnings)


def fit(frame: UInt8, card: Card) -> UInt8:
    """A BGR frame as `(1, h, w, channels)`, at the size and in the pixel format of the card."""
    if card.size_hw is None:
        raise UsageError("The graph's size is not fixed.")
    out = np.empty((1, *card.size_hw, len(card.preprocess.pixel_format)), np.uint8)
    frame_for_card(frame, card.preprocess, out[0])
    return out
