"""`edgeseg calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.options import model_options, recipe_fields
from edgeseg.cli.report import json_option, print_json, print_table, progress, say

if TYPE_CHECKING:
    from edgeseg.build.stages import CalibrateReport

__all__ = ["calibrate"]

#: Rows of the table.
SHOWN = 10


@click.command()
@click.argument("model")
@click.argument("source")
@click.option("-o", "out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The .ranges.npz file.")
@click.option(
    "--calib-frames", type=click.IntRange(1), default=100, show_default=True, help="At most so many, evenly spaced."
)
@model_options
@json_option
def calibrate(model: str, source: str, out: Path, as_json: bool, **options: Any) -> None:
    """Measure the ranges of MODEL's tensors on the frames of SOURCE.

    MODEL is a name of edgeseg models, a float .onnx graph, or a checkpoint; SOURCE is a folder of images, a list, a
    video or a calibration set. Ranges hold minimum, maximum and a histogram of every tensor, so that each calibrator
    can be tried later without the frames. They belong to MODEL's weights. Named <model>.ranges.npz beside
    <model>.onnx, edgeseg build finds them by itself.

    \b
    Examples:
      edgeseg calibrate street.onnx frames/ -o street.ranges.npz
      edgeseg calibrate liteseg-efficientnet-lite0-camvid demo://bikes -o bikes.ranges.npz
    """
    from edgeseg.build import BuildRecipe
    from edgeseg.build.stages import calibrate_file

    recipe = BuildRecipe(model=model, calib=source, **recipe_fields(options))
    with progress("calibrate") as update:
        report = calibrate_file(recipe, out, update)
    if as_json:
        print_json("calibrate", report)
    else:
        _tell(report, model)


def _tell(report: CalibrateReport, model: str) -> None:
    rows = [
        (tail.tensor, f"{tail.minimum:.3f}", f"{tail.maximum:.3f}", f"{tail.most:.3f}", f"{tail.bits:.2f}")
        for tail in report.tails[:SHOWN]
    ]
    columns = ("tensor", "minimum", "maximum", "99.99 % within", "bits for the rest")
    print_table("Longest tails: another calibrator than minmax may serve these better", columns, rows)
    for warning in report.warnings:
        say(f"warning: {warning}")
    height, width = report.size_hw
    say(
        f"Wrote {report.ranges}: {report.tensors} tensors on {report.frames} frames at {height}x{width}, "
        f"{report.size_bytes / 1e6:.1f} MB, {report.seconds:.0f} s.\n"
        f"Next: edgeseg quantize {model} {report.ranges} -o int8.onnx --dialect s8-sym"
    )
