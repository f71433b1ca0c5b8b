"""What was found of the sensitivity of a model's blocks: as figures, as a chart, and as files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import msgspec

from edgeseg.build.bar_chart import Panel, draw_bars
from edgeseg.card import Dialect, Upsample
from edgeseg.files import atomic_path

__all__ = [
    "BlockRow",
    "BlockScore",
    "RankCorrelation",
    "SensitivityReport",
    "chance_warning",
    "proxy_sentence",
    "sensitivity_svg",
    "whole_sentence",
    "write_sensitivity",
]


class BlockScore(msgspec.Struct, frozen=True, kw_only=True):
    """How a graph with blocks in eight bits compares with the float one.

    Attributes:
        snr_db: Power of the float logits over that of the difference, decibels; None where nothing differs, and where
            `drowned`.
        drowned: There is no signal to noise to tell: logits are no numbers, or infinite, or differ from a float graph's
            that are all zero. Worse than any decibels.
        agreement: Share of the pixels with the float graph's class, 0 to 1.
        miou: On labels, 0 to 1; None without.
        drop: What that is below the float graph's; None without labels.
        agreement_miou: Without labels, mean IoU against the float graph's own classes, 0 to 1: agreement, no accuracy.
    """

    snr_db: float | None
    drowned: bool = False
    agreement: float
    miou: float | None = None
    drop: float | None = None
    agreement_miou: float | None = None

    @property
    def comparable_db(self) -> float:
        """To rank by: infinite where nothing differs, minus infinity where it is drowned."""
        return -math.inf if self.drowned else math.inf if self.snr_db is None else self.snr_db

    @property
    def loss(self) -> float:
        """The drop of mIoU on labels; without labels what the agreement's mean IoU is below 1."""
        return self.drop if self.drop is not None else 1 - (self.agreement_miou or 0.0)


class BlockRow(msgspec.Struct, frozen=True, kw_only=True):
    """One block.

    Attributes:
        name: Of its first operator with weights.
        label: For people: what its author called that operator, where its weights tell.
        nodes: Names of its operators: what `--keep-float` takes to leave it in float.
        weighted: Those with weights.
        parameters: Values in their weights.
        alone: This block in eight bits, all others in float.
        left_out: All blocks in eight bits but this one; None of a quick run, as are the gains.
        snr_gain_db: What leaving it out wins over the whole in eight bits; None where either differs in nothing or is
            drowned.
        miou_gain: The same in mIoU, 0 to 1; None without labels.
        agreement_miou_gain: The same in agreement, 0 to 1; None with labels.
    """

    name: str
    label: str
    nodes: tuple[str, ...]
    weighted: tuple[str, ...]
    parameters: int
    alone: BlockScore
    left_out: BlockScore | None = None
    snr_gain_db: float | None = None
    miou_gain: float | None = None
    agreement_miou_gain: float | None = None

    @property
    def gain(self) -> float | None:
        """Of mIoU on labels, else of agreement."""
        return self.agreement_miou_gain if self.miou_gain is None else self.miou_gain


class RankCorrelation(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a quick run, which ranks by the noise of each block alone, finds the blocks that pay off in float.

    Spearman's, from -1 to 1; None where nothing can be ranked.

    Attributes:
        frames: Of the quick run.
        blocks: That were ranked.
        snr_gain: With the ranking by gain of the logits' signal-to-noise ratio when left in float.
        miou_gain: With that by gain of mIoU; None without labels.
        agreement_miou_gain: With that by gain of agreement; None with labels.
    """

    frames: int
    blocks: int
    snr_gain: float | None
    miou_gain: float | None = None
    agreement_miou_gain: float | None = None


class SensitivityReport(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of `edgeseg sensitivity`.

    Attributes:
        kind: `labels`, or `agreement` with the float graph where there are none.
        source: Of the frames.
        quick: Each block was only looked at alone, on few frames.
        float_miou: On labels, 0 to 1; None without.
        all_int8: All blocks in eight bits; None of a quick run, as is `rank_correlation`.
        blocks: The most sensitive first.
    """

    schema: str = "edgeseg.sensitivity/1"
    model: str
    size_hw: tuple[int, int]
    upsample: Upsample
    dialect: Dialect
    calibrator: str
    per_tensor: bool
    ranges_sha256: str
    kind: Literal["labels", "agreement"]
    source: str
    frames: int
    quick: bool
    float_miou: float | None
    all_int8: BlockScore | None
    blocks: tuple[BlockRow, ...]
    rank_correlation: RankCorrelation | None
    warnings: tuple[str, ...]
    seconds: float


def chance_warning(rows: Sequence[BlockRow]) -> tuple[str, ...]:
    """A warning where leaving blocks in float loses classes as often as it wins them."""
    gains = [row.gain for row in rows if row.gain is not None]
    if not gains or max(gains) > -min(gains):
        return ()
    what = "agreement" if rows[0].miou_gain is None else "mIoU"
    most, least = 100 * max(0.0, *gains), 100 * max(0.0, *(-gain for gain in gains))
    return (
        f"What a block left in float changes in {what} is chance on these frames, {most:.2f} points won at most and "
        f"{least:.2f} lost: only decibels tell the blocks apart.",
    )


def write_sensitivity(report: SensitivityReport, folder: Path) -> tuple[Path, Path]:
    """Write `sensitivity.json` and `sensitivity.svg` into a folder, both whole, or leave all there as it was.

    Returns:
        Their paths.
    """
    files = {
        "sensitivity.json": msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n",
        "sensitivity.svg": sensitivity_svg(report).encode(),
    }
    with ExitStack() as stack:
        for name, content in files.items():
            stack.enter_context(atomic_path(folder / name)).write_bytes(content)
    return folder / "sensitivity.json", folder / "sensitivity.svg"


def sensitivity_svg(report: SensitivityReport) -> str:
    """A chart of the blocks, the most sensitive on top.

    Their noise alone; and but for a quick run, what is won where one stays in float, and the points lost alone.
    """
    rows = report.blocks
    panels = [
        Panel(
            "One block alone in INT8: noise of the logits",
            "dB below the signal; the longer the bar, the louder the noise",
            [-math.inf if row.alone.drowned else row.alone.snr_db for row in rows],
            missing="no noise",
            beyond="drowned",
            falling=True,
        )
    ]
    if not report.quick:
        gains = [row.snr_gain_db for row in rows]
        panels.append(Panel("All in INT8 but this block: gain", "dB of signal-to-noise over all in INT8", gains))
        what = "mIoU below float" if report.kind == "labels" else "mean IoU with float's own classes below 100"
        lost = [100 * row.alone.loss for row in rows]
        panels.append(Panel("One block alone in INT8: loss", f"points of {what}", lost))
    return draw_bars(f"Sensitivity to INT8: {report.model}", _notes(report), [row.label for row in rows], panels)


def _notes(report: SensitivityReport) -> list[str]:
    height, width = report.size_hw
    weights = "tensor" if report.per_tensor else "channel"
    frames = "1 frame" if report.frames == 1 else f"{report.frames} frames"
    made = (
        f"{report.dialect}, {report.calibrator}, weights per {weights}, {height}x{width}, {frames} of {report.source}"
    )
    return [made, *([whole_sentence(report.all_int8)] if report.all_int8 is not None else [])]


def whole_sentence(score: BlockScore) -> str:
    """What the graph with all blocks in eight bits loses, in points."""
    snr = "drowned in noise" if score.drowned else "no noise" if score.snr_db is None else f"{score.snr_db:.1f} dB"
    if score.agreement_miou is not None:
        return (
            f"All blocks in INT8: {snr}, mean IoU {100 * score.agreement_miou:.2f} against float's own classes "
            "(agreement, no accuracy)."
        )
    lost = f"{100 * abs(score.loss):.2f} points {'below' if score.loss >= 0 else 'above'} float"
    return f"All blocks in INT8: {snr}, mIoU {100 * (score.miou or 0):.2f}, {lost}."


def proxy_sentence(found: RankCorrelation) -> str:
    """What a quick run is worth."""
    gains = (("dB", found.snr_gain), ("mIoU", found.miou_gain), ("agreement", found.agreement_miou_gain))
    told = [f"{value:.2f} by gain in {name}" for name, value in gains if value is not None]
    return (
        f"A quick run, noise alone on {found.frames} frames, ranks the {found.blocks} blocks like what is won where "
        f"one is left in float: Spearman {', '.join(told) or 'can not be told'}."
    )
