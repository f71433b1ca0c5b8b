"""Choices by frames that were not calibrated on: the calibrator of each dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.build.calibration import Calibration
from edgeseg.build.gate import GateFrames
from edgeseg.build.graph_facts import Quantization
from edgeseg.build.report import CalibratorRow
from edgeseg.card import Dialect, Upsample
from edgeseg.errors import UsageError
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.probe import Probe

__all__ = ["CALIBRATORS_TRIED", "choose_calibrator", "open_probe", "search_frames"]

UInt8 = npt.NDArray[np.uint8]
#: What `--calibrator auto` tries.
CALIBRATORS_TRIED = ("minmax", "percentile:99.999", "percentile:99.99", "entropy", "mse")
#: Frames to choose by; more change little and cost as much again.
SEARCH_FRAMES = 16


def search_frames(calibration: Calibration, gate: GateFrames, limit: int = SEARCH_FRAMES) -> list[UInt8]:
    """Frames to choose by, evenly spaced: of the calibration source, else the gate's own, without their labels.

    Raises:
        UsageError: There are none, or only rendered ones.
    """
    if calibration.search is not None and len(calibration.search):
        return [frame for _, frame in calibration.search.choose(limit)]
    if gate.kind not in ("labels", "agreement"):
        raise UsageError(
            "There are no frames to choose a calibrator by.",
            hint="Give frames of the camera: --calib FOLDER|VIDEO, --frames or --data",
        )
    wanted = np.linspace(0, len(gate) - 1, min(len(gate), limit)).round().astype(int)
    return list(_at(gate.frames(), {int(index) for index in wanted}))


def _at(frames: Iterator[UInt8], indices: set[int]) -> Iterator[UInt8]:
    return (frame for index, frame in enumerate(frames) if index in indices)


def open_probe(prepared: ir.Model, frames: list[UInt8], upsample: Upsample) -> Probe:
    """A probe that compares with the float graph, without labels."""
    return Probe(prepared, ((frame, None) for frame in frames), upsample=upsample)


def choose_calibrator(
    prepared: ir.Model,
    quantization: Quantization,
    dialect: Dialect,
    probe: Probe,
    on_tried: Callable[[int, int], None] = lambda *_: None,
) -> tuple[Quantization, list[CalibratorRow]]:
    """The calibrator with which most pixels keep their class; among equals that of the better signal-to-noise ratio.

    Returns:
        The quantization with that calibrator and without corrections, which belong to another, and what was tried.
    """
    rows = []
    bare = msgspec.structs.replace(quantization.recipe, bias_corrected=False, corrections={})
    for index, name in enumerate(CALIBRATORS_TRIED):
        recipe = msgspec.structs.replace(bare, calibrator=name)
        score = probe.score(quantize_onnx(prepared, quantization.ranges, dialect=dialect, recipe=recipe))
        rows.append(CalibratorRow(dialect=dialect, calibrator=name, snr_db=score.snr_db, agreement=score.agreement))
        on_tried(index + 1, len(CALIBRATORS_TRIED))
    best = max(rows, key=lambda row: (row.agreement, row.snr_db if row.snr_db is not None else float("inf")))
    chosen = msgspec.structs.replace(bare, calibrator=best.calibrator)
    told = [msgspec.structs.replace(row, picked=row is best) for row in rows]
    return Quantization(chosen, quantization.ranges), told
