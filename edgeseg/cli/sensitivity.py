"""`edgeseg sensitivity`."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.options import model_options, recipe_fields
from edgeseg.cli.quantize import DIALECTS
from edgeseg.cli.report import json_option, points, print_json, print_table, progress, say

if TYPE_CHECKING:
    from edgeseg.build.sensitivity_report import BlockRow, BlockScore, SensitivityReport

__all__ = ["sensitivity"]


@click.command()
@click.argument("model")
@click.option("--frames", metavar="SOURCE", help="Frames without labels: a folder, a list, a video, demo://bikes.")
@click.option("--data", metavar="DIR", help="Labelled frames: images/ with masks/ or labels/; or camvid.")
@click.option("--calib", metavar="SOURCE", help="Frames to measure ranges on: folder, list, video, calibration set.")
@click.option(
    "--ranges",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Ranges that edgeseg calibrate measured.  [default: those beside MODEL]",
)
@click.option("--dialect", type=click.Choice(DIALECTS), help="Form of INT8.  [default: that of this CPU, u8-asym]")
@click.option(
    "--calibrator",
    metavar="NAME",
    help="minmax, percentile, percentile:99.9, entropy or mse.  [default: the model's own for the ranges beside it, "
    "else minmax]",
)
@click.option("--per-tensor", is_flag=True, help="One scale for all weights of an operator.")
@click.option("--limit", type=click.IntRange(1), default=16, show_default=True, help="Frames at most, evenly spaced.")
@click.option("--quick", is_flag=True, help="Each block alone only, on 4 of these frames.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False, writable=True),
    metavar="DIR",
    help="Folder for sensitivity.json and the chart sensitivity.svg.",
)
@model_options
@json_option
def sensitivity(
    model: str,
    ranges: Path | None,
    dialect: Any,
    limit: int,
    quick: bool,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the blocks of MODEL that lose most in eight bits.

    A block is a run of up to three operators with weights, as an inverted residual has. Each is quantized alone, with
    all others in float; and each is left alone in float, with all others quantized. Told are the signal-to-noise ratio
    of the logits against float, and the drop of mIoU on labels; without labels, what is lost in agreement with the
    float network, which is no accuracy. Graphs are computed as they are written: this says nothing of one engine
    library, or of speed.

    --quick looks at fewer graphs and frames, and ranks by the noise of each block alone; the whole run tells how far
    that ranking holds.

    \b
    Examples:
      edgeseg sensitivity liteseg-efficientnet-lite0-camvid --data camvid -o sensitivity
      edgeseg sensitivity street.onnx --frames drive.mp4 --calib frames/ --quick
      edgeseg sensitivity street.onnx --data street/val --per-tensor --dialect s8-sym --json
    """
    from edgeseg.bench import make_folder
    from edgeseg.build import BuildRecipe
    from edgeseg.build.sensitivity import find_sensitive_blocks
    from edgeseg.build.sensitivity_report import write_sensitivity

    recipe = BuildRecipe(model=model, gate_frames=limit, **recipe_fields(options))
    if out is not None:
        make_folder(out)
    with progress("sensitivity") as update:
        report = find_sensitive_blocks(recipe, dialect=dialect, ranges=ranges, quick=quick, on_progress=update)
    written = write_sensitivity(report, out) if out is not None else None
    if as_json:
        print_json("sensitivity", report)
    else:
        _tell(report)
    if written is not None:
        say(f"Wrote {written[0]} and {written[1]}.")


def _tell(report: SensitivityReport) -> None:
    from rich.markup import escape

    from edgeseg.build.sensitivity_report import proxy_sentence, whole_sentence

    lost = "mIoU drop" if report.kind == "labels" else "agreement lost"
    columns = ["block", "weighted", "parameters", "dB alone", f"{lost} alone"]
    columns += [] if report.quick else ["dB left out", f"{lost} left out", "gain, dB"]
    rows = [(escape(row.label), *_figures(row)) for row in report.blocks]
    weights = "tensor" if report.per_tensor else "channel"
    title = f"{escape(report.model)} in {report.dialect}, {report.calibrator}, weights per {weights}"
    print_table(title, columns, rows, whole=columns[1:])
    if report.all_int8 is not None:
        click.echo(whole_sentence(report.all_int8))
    if report.rank_correlation is not None:
        click.echo(proxy_sentence(report.rank_correlation))
    for warning in report.warnings:
        say(f"warning: {warning}")
    say(_next_line(report))


def _next_line(report: SensitivityReport) -> str:
    """How the block that matters most stays in float."""
    best = report.blocks[0] if report.quick else max(report.blocks, key=_left_out_db)
    why = f"is the noisiest alone, {best.label}" if report.quick else f"wins most in float, {best.label}"
    return f"The block that {why}, stays in float by: {shlex.join(_keep_float(best))}"


def _left_out_db(row: BlockRow) -> float:
    return -math.inf if row.left_out is None else row.left_out.comparable_db


def _keep_float(row: BlockRow) -> list[str]:
    return [word for name in row.nodes for word in ("--keep-float", name)]


def _figures(row: BlockRow) -> tuple[str, ...]:
    figures = (f"{len(row.weighted)}", f"{row.parameters:,}", *_score(row.alone))
    if row.left_out is None:
        return figures
    gain = "-" if row.snr_gain_db is None else f"{round(row.snr_gain_db, 2) + 0.0:+.2f}"
    return (*figures, *_score(row.left_out), gain)


def _score(score: BlockScore) -> tuple[str, str]:
    decibels = "drowned" if score.drowned else "-" if score.snr_db is None else f"{score.snr_db:.1f}"
    return decibels, points(round(score.loss, 4) + 0.0)
