"""Which blocks of a model lose most in eight bits, measured one block at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.build.calibrate import calibrate
from edgeseg.build.prepared import open_prepared
from edgeseg.build.quantizations import recipe_for
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.sensitivity_report import BlockRow, BlockScore, RankCorrelation, SensitivityReport, chance_warning
from edgeseg.card import Card, Dialect, Int8Recipe
from edgeseg.data.calibration import image_key, open_frames
from edgeseg.data.labelled import open_validation
from edgeseg.device.cpu import int8_saturates
from edgeseg.errors import ModelFileError, UsageError
from edgeseg.evaluate import labels_fit
from edgeseg.graph.io import require_card
from edgeseg.quantize.blocks import Block
from edgeseg.quantize.probe import Probe, ProbeScore
from edgeseg.quantize.ranges import Ranges
from edgeseg.quantize.sensitivity import (
    OnBlock,
    Sensitivity,
    Variants,
    comparable_db,
    measure_sensitivity,
    quick_frames,
    rank_correlation,
    score_alone,
)

__all__ = ["SENSITIVITY_FRAMES", "find_sensitive_blocks"]

OnProgress = Callable[[float, str], None]
UInt8 = npt.NDArray[np.uint8]
#: Frames to measure on, unless told otherwise.
SENSITIVITY_FRAMES = 16
#: Share of the progress that calibration makes, where ranges are measured now.
CALIBRATION = 0.2


class _Frames(NamedTuple):
    """Frames `(H, W, 3)` uint8 BGR with their labels `(H, W)` or None, and keys by which they are known again."""

    pairs: list[tuple[UInt8, UInt8 | None]]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class _Work:
    """All that is needed to measure; `begin` is the share of the progress that was made to get here."""

    prepared: ir.Model
    ranges: Ranges
    dialect: Dialect
    int8: Int8Recipe
    variants: Variants
    frames: _Frames
    warnings: tuple[str, ...]
    begin: float


class _Found(NamedTuple):
    all_int8: BlockScore | None
    blocks: tuple[BlockRow, ...]
    rank_correlation: RankCorrelation | None


def find_sensitive_blocks(
    recipe: BuildRecipe,
    *,
    dialect: Dialect | None = None,
    ranges: Path | None = None,
    quick: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> SensitivityReport:
    """Quantize each block of a model alone, and leave each alone in float.

    Args:
        recipe: Names the model, the calibrator, and either `data` or `frames`, of which `gate_frames` are taken. The
            model's own recipe is followed where a build would, but for its corrections of biases.
        dialect: None takes that of the CPU at hand.
        ranges: A file of them; None measures them on `recipe.calib`, or takes those beside the model.
        quick: Each block alone only, on four of the frames.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        UsageError: There are no frames, no ranges or no such model, or the labels are of other classes.
        ModelFileError: The model is damaged or quantized already or has no blocks, or the ranges are of other weights.
    """
    started = time.perf_counter()
    work = _open(recipe, dialect, ranges, quick, on_progress)
    on_progress(work.begin, "float answers")
    probe = Probe(work.prepared, work.frames.pairs, upsample=recipe.upsample)
    if probe.labelled:
        labels_fit(probe.float_matrix, require_card(work.prepared).classes)

    def tell(done: int, of: int) -> None:
        on_progress(work.begin + (1 - work.begin) * done / of, f"graph {done} of {of}")

    found = (_measure_alone if quick else _measure)(work.variants, probe, tell)
    report = _report(recipe, work, probe, found)
    return msgspec.structs.replace(report, quick=quick, seconds=time.perf_counter() - started)


def _open(
    recipe: BuildRecipe, dialect: Dialect | None, ranges: Path | None, quick: bool, on_progress: OnProgress
) -> _Work:
    _check(recipe, ranges)
    on_progress(0.0, "read the model")
    model, prepared = open_prepared(recipe)
    frames = _open_frames(recipe, require_card(prepared), quick)
    begin = CALIBRATION if recipe.calib else 0.0
    given = replace(model, ranges=ranges or model.ranges)
    calibration = calibrate(recipe, given, prepared, lambda share, note: on_progress(begin * share, note))
    if calibration.ranges is None:
        raise UsageError(f"Nothing is lost in eight bits where precision is {recipe.precision}.", hint="Ask for int8.")
    dialect = dialect or ("u8-asym-reduced" if int8_saturates() else "u8-asym")
    # Corrections go with all blocks in eight bits.
    int8 = _uncorrected(recipe_for(calibration.ranges, model, recipe, require_card(prepared), dialect))
    variants = Variants(prepared, calibration.ranges, dialect, int8)
    if not variants.blocks:
        raise ModelFileError(
            f"{recipe.model} has nothing that eight bits could harm: no operator with weights but its classifier, "
            "which stays in float.",
            hint="Build it in float: edgeseg build MODEL --fp32",
        )
    warnings = (*calibration.warnings, *_seen(frames, calibration.ranges))
    return _Work(prepared, calibration.ranges, dialect, int8, variants, frames, warnings, begin)


def _uncorrected(recipe: Int8Recipe) -> Int8Recipe:
    return msgspec.structs.replace(recipe, bias_corrected=False, corrections={})


def _check(recipe: BuildRecipe, ranges: Path | None) -> None:
    if bool(recipe.data) == bool(recipe.frames):
        raise UsageError("Give the frames to measure on: either --frames SOURCE or --data DIR.")
    if recipe.calib and ranges is not None:
        raise UsageError("Ranges are either measured, --calib SOURCE, or read, --ranges FILE.", hint="Leave out one.")


def _open_frames(recipe: BuildRecipe, card: Card, quick: bool) -> _Frames:
    """The frames that are measured on, all in memory, evenly spaced in their source."""
    limit = recipe.gate_frames or SENSITIVITY_FRAMES
    if recipe.data:
        labelled = open_validation(recipe.data, card.num_classes)
        chosen = np.linspace(0, len(labelled) - 1, min(len(labelled), limit)).round().astype(int).tolist()
        chosen = [chosen[index] for index in quick_frames(len(chosen))] if quick else chosen
        return _Frames([labelled.read(i) for i in chosen], tuple(image_key(labelled.pairs[i][0]) for i in chosen))
    plain = open_frames(recipe.frames, limit=limit)
    taken = quick_frames(len(plain)) if quick else range(len(plain))
    frames = [(named.frame, None) for index, named in enumerate(plain) if index in taken]
    return _Frames([*frames], tuple(plain.keys[index] for index in taken))


def _seen(frames: _Frames, ranges: Ranges) -> tuple[str, ...]:
    count = len(set(frames.keys) & set(ranges.frame_keys))
    if not count:
        return ()
    return (f"{count} of the {len(frames.keys)} frames were calibrated on; others tell more of what is cut off.",)


def _measure_alone(variants: Variants, probe: Probe, on_block: OnBlock) -> _Found:
    pairs = score_alone(variants, probe, on_block)
    return _Found(None, tuple(_row(block, _told(score, probe)) for block, score in pairs), None)


def _measure(variants: Variants, probe: Probe, on_block: OnBlock) -> _Found:
    found = measure_sensitivity(variants, probe, on_block)
    whole = _told(found.all_int8, probe)
    rows = [_row(one.block, _told(one.alone, probe), _told(one.left_out, probe), whole) for one in found.blocks]
    return _Found(whole, tuple(rows), _correlation(found, probe))


def _report(recipe: BuildRecipe, work: _Work, probe: Probe, found: _Found) -> SensitivityReport:
    card = require_card(work.prepared)
    return SensitivityReport(
        model=card.model,
        size_hw=card.fixed_size_hw,
        upsample=recipe.upsample,
        dialect=work.dialect,
        calibrator=work.int8.calibrator,
        per_tensor=work.int8.per_tensor,
        ranges_sha256=work.ranges.sha256(),
        kind="labels" if probe.labelled else "agreement",
        source=recipe.data or recipe.frames,
        frames=len(probe.frames),
        quick=False,
        float_miou=probe.float_miou if probe.labelled else None,
        **found._asdict(),
        warnings=(*work.warnings, *chance_warning(found.blocks)),
        seconds=0.0,
    )


def _told(score: ProbeScore, probe: Probe) -> BlockScore:
    """A score in its report: what has no labels to go by is called agreement."""
    drowned = score.snr_db == -math.inf
    told = BlockScore(snr_db=None if drowned else score.snr_db, drowned=drowned, agreement=score.agreement)
    if probe.labelled:
        return msgspec.structs.replace(told, miou=score.miou, drop=score.drop)
    return msgspec.structs.replace(told, agreement_miou=score.miou)


def _row(
    block: Block, alone: BlockScore, left_out: BlockScore | None = None, whole: BlockScore | None = None
) -> BlockRow:
    row = BlockRow(
        name=block.name,
        label=block.label,
        nodes=block.nodes,
        weighted=block.weighted,
        parameters=block.parameters,
        alone=alone,
    )
    if left_out is None or whole is None:
        return row
    gain = whole.loss - left_out.loss
    decibels = None if left_out.snr_db is None or whole.snr_db is None else left_out.snr_db - whole.snr_db
    return msgspec.structs.replace(
        row,
        left_out=left_out,
        snr_gain_db=decibels,
        miou_gain=gain if whole.drop is not None else None,
        agreement_miou_gain=gain if whole.drop is None else None,
    )


def _correlation(found: Sensitivity, probe: Probe) -> RankCorrelation:
    """How the ranking of a quick run goes with that by what is won where a block is left in float."""
    quick = [-comparable_db(one.quick_db) for one in found.blocks]
    by_snr = rank_correlation(quick, [comparable_db(one.left_out.snr_db) for one in found.blocks])
    by_miou = rank_correlation(quick, [one.left_out.miou for one in found.blocks])
    return RankCorrelation(
        frames=len(quick_frames(len(probe.frames))),
        blocks=len(found.blocks),
        snr_gain=by_snr,
        miou_gain=by_miou if probe.labelled else None,
        agreement_miou_gain=None if probe.labelled else by_miou,
    )
