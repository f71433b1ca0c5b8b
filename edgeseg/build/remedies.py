"""What may be done to an INT8 graph that loses too much: each remedy proposes another quantization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.build.calibrate import as_pixels, calibrate_on
from edgeseg.build.calibration import Calibration
from edgeseg.build.graph_facts import Quantization
from edgeseg.build.report import CalibratorRow
from edgeseg.build.search import choose_calibrator, open_probe
from edgeseg.card import Dialect, Int8Recipe, Upsample
from edgeseg.graph.io import require_card
from edgeseg.quantize.blocks import Block
from edgeseg.quantize.correction import measure_corrections
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.equalize import channel_peaks, equalize, find_equalization
from edgeseg.quantize.measure import measure_ranges
from edgeseg.quantize.probe import Probe
from edgeseg.quantize.sensitivity import Variants, keep_also, rank_blocks

__all__ = ["Proposal", "Remedies"]

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
#: Frames to rank blocks by, and to measure means and peaks of channels on; each has thousands of places.
RANKING_FRAMES, STATISTICS_FRAMES = 4, 4
#: Decibels that equalization must win on a few frames before all ranges are measured anew.
LEAST_GAIN_DB = 1.0


@dataclass(frozen=True)
class Proposal:
    """Another quantization, or none; `detail` says what is different, or why there is none.

    Attributes:
        calibrators: What was tried to come to it.
    """

    quantization: Quantization | None
    detail: str
    calibrators: tuple[CalibratorRow, ...] = ()


@dataclass(frozen=True)
class Remedies:
    """The remedies for one graph in one dialect.

    Attributes:
        prepared: The float graph.
        dialect: Of the INT8 graph.
        calibration: Frames that ranges were measured on, where they are at hand.
        search: Frames to choose by, `(H, W, 3)` uint8 BGR.
        upsample: Size at which the best class is picked.
        on_progress: Told the share of a remedy that is done, 0 to 1, and what is under way.
    """

    prepared: ir.Model
    dialect: Dialect
    calibration: Calibration
    search: list[UInt8]
    upsample: Upsample
    on_progress: Callable[[float, str], None]

    def calibrator(self, now: Quantization) -> Proposal:
        """The one with which most pixels of the search frames keep their class."""
        chosen, rows = choose_calibrator(
            self.prepared,
            now,
            self.dialect,
            self._probe(),
            lambda done, of: self.on_progress(done / of, f"calibrator {done} of {of}"),
        )
        before, after = now.recipe.calibrator, chosen.recipe.calibrator
        if after == before:
            return Proposal(None, f"{before} stays, the best of {len(rows)} on {len(self.search)} frames", tuple(rows))
        return Proposal(chosen, f"{after} instead of {before}", tuple(rows))

    def equalization(self, now: Quantization) -> Proposal:
        """Channels brought to like magnitudes, and the ranges of that graph."""
        frames = self.calibration.frames
        if frames is None:
            return Proposal(None, "not tried: ranges would have to be measured anew, give --calib")
        pixels = self._statistics_pixels()
        found = find_equalization(self.prepared, channel_peaks(self.prepared, pixels))
        equalized = equalize(self.prepared, found)
        recipe = msgspec.structs.replace(_uncorrected(now.recipe), equalized=True, equalization=found)
        gain = self._snr_db(recipe, equalized, pixels) - self._snr_db(
            _uncorrected(now.recipe), equalize(self.prepared, now.recipe.equalization), pixels
        )
        if not gain >= LEAST_GAIN_DB:
            return Proposal(None, f"channels are alike already: {round(gain, 1) + 0.0:+} dB if made more so")
        ranges = calibrate_on(frames, equalized, lambda share, note: self.on_progress(share, f"equalize, {note}"))
        return Proposal(Quantization(recipe, ranges), f"channels made alike, {gain:+.1f} dB on {len(pixels)} frames")

    def bias_correction(self, now: Quantization) -> Proposal:
        """Biases that give every convolution the mean that it has in float."""
        pixels = self._statistics_pixels()
        bare = _uncorrected(now.recipe)
        corrections = measure_corrections(
            equalize(self.prepared, bare.equalization),
            self._quantize(Quantization(bare, now.ranges)),
            pixels,
            on_conv=lambda done, of: self.on_progress(done / of, f"bias correction, convolution {done} of {of}"),
        )
        recipe = msgspec.structs.replace(bare, bias_corrected=True, corrections=corrections)
        return Proposal(
            Quantization(recipe, now.ranges), f"{len(corrections)} convolutions, means of {len(pixels)} frames"
        )

    def float_blocks(self, now: Quantization, blocks: list[Block]) -> Quantization:
        """These blocks in float; corrected biases are measured anew, since they made up for these blocks too."""
        recipe = keep_also(_uncorrected(now.recipe), (name for block in blocks for name in block.nodes))
        quantization = Quantization(recipe, now.ranges)
        if not now.recipe.bias_corrected:
            return quantization
        return self.bias_correction(quantization).quantization or quantization

    def ranking(self, now: Quantization) -> list[Block]:
        """The blocks, the most sensitive first. Corrections are left out: they go with all blocks in eight bits."""
        variants = Variants(self.prepared, now.ranges, self.dialect, _uncorrected(now.recipe))
        return rank_blocks(
            variants,
            self._probe(RANKING_FRAMES),
            lambda done, of: self.on_progress(done / of, f"sensitivity of block {done} of {of}"),
        )

    def _snr_db(self, recipe: Int8Recipe, graph: ir.Model, pixels: list[Float32]) -> float:
        """With ranges of a few frames alone."""
        ranges = measure_ranges(graph, pixels, calibration_sha256="")
        score = self._probe(RANKING_FRAMES).score(self._quantize(Quantization(recipe, ranges)))
        return float("inf") if score.snr_db is None else score.snr_db

    def _quantize(self, quantization: Quantization) -> ir.Model:
        return quantize_onnx(self.prepared, quantization.ranges, dialect=self.dialect, recipe=quantization.recipe)

    def _probe(self, limit: int | None = None) -> Probe:
        every = 1 if limit is None else max(1, len(self.search) // limit)
        return open_probe(self.prepared, self.search[::every][:limit], self.upsample)

    def _statistics_pixels(self) -> list[Float32]:
        """Calibration frames where they are at hand, else those to choose by."""
        card, frames = require_card(self.prepared), self.calibration.frames
        if frames is not None:
            return [as_pixels(frame, card) for _, frame in frames.choose(STATISTICS_FRAMES)]
        every = max(1, len(self.search) // STATISTICS_FRAMES)
        return [as_pixels(frame, card) for frame in self.search[::every][:STATISTICS_FRAMES]]


def _uncorrected(recipe: Int8Recipe) -> Int8Recipe:
    """Without corrections, which are those of one graph and its thresholds alone."""
    return msgspec.structs.replace(recipe, bias_corrected=False, corrections={})
