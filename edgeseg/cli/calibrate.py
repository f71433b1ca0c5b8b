"""`edgeseg calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from edgeseg.cli.options import model_options, recipe_fields
from edgeseg.cli.report import json_option, points, print_json, print_table, progress, say
from edgeseg.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from edgeseg.build import BuildRecipe
    from edgeseg.build.calibration_check import CheckReport
    from edgeseg.build.calibration_set import SelectReport
    from edgeseg.build.stages import CalibrateReport

__all__ = ["calibrate"]

#: Rows of the table of tails, and pairs of leaked frames that are shown.
SHOWN = 10
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("model")
@click.argument("source")
@click.option("-o", "out", type=FILE, help="The .ranges.npz file; of --select the .toml file.")
@click.option(
    "--calib-frames",
    type=click.IntRange(1),
    help="At most so many, evenly spaced.  [default: 100; 2000 with --select]",
)
@click.option("--check", is_flag=True, help="Only look at the frames: are they fit to calibrate on?")
@click.option("--against", metavar="SOURCE", help="With --check: what is evaluated on, and must be other frames.")
@click.option("--sheet", type=FILE, metavar="PNG", help="With --check: a contact sheet, what was found marked on it.")
@click.option("--select", type=click.IntRange(1), metavar="N", help="Choose N frames that differ: a calibration set.")
@model_options
@json_option
def calibrate(
    model: str,
    source: str,
    out: Path | None,
    check: bool,
    against: str | None,
    sheet: Path | None,
    select: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure the ranges of MODEL's tensors on the frames of SOURCE, look at these frames, or choose among them.

    MODEL is a name of edgeseg models, a float .onnx graph, or a checkpoint; SOURCE is a folder of images, a list, a
    video or a calibration set. Ranges hold minimum, maximum and a histogram of every tensor, so that each calibrator
    can be tried later without the frames. They belong to MODEL's weights. Named <model>.ranges.npz beside
    <model>.onnx, edgeseg build finds them by itself.

    --check tells of duplicates, of frames that show nothing, of light, of the classes that MODEL finds, and of frames
    that the evaluation uses too; its exit code is 7 where the frames are no good. --select writes a calibration set,
    to be given wherever SOURCE stands, with a contact sheet beside it.

    \b
    Examples:
      edgeseg calibrate street.onnx frames/ -o street.ranges.npz
      edgeseg calibrate street.onnx frames/ --check --against camvid --sheet frames.png
      edgeseg calibrate street.onnx drive.mp4 --select 100 -o drive.toml
      edgeseg calibrate street.onnx drive.toml -o street.ranges.npz
    """
    from edgeseg.build import BuildRecipe

    recipe = BuildRecipe(model=model, calib=source, **recipe_fields(options))
    if not check and (against is not None or sheet is not None):
        raise UsageError("--against and --sheet belong to --check.", hint="Add --check, or leave them out.")
    if check:
        if out is not None or select is not None:
            raise UsageError("--check only looks at the frames.", hint="Leave out -o and --select.")
        _check(recipe, against or "", sheet, as_json=as_json)
        return
    if out is None:
        raise UsageError(
            "It is not said where to write.",
            hint="-o FILE.ranges.npz for ranges, --select N -o SET.toml for a choice of frames, or --check.",
        )
    if select is not None:
        _select(recipe, select, out, options["calib_frames"], as_json=as_json)
    else:
        _measure(recipe, out, as_json=as_json)


def _measure(recipe: BuildRecipe, out: Path, *, as_json: bool) -> None:
    from edgeseg.build.stages import calibrate_file

    with progress("calibrate") as update:
        report = calibrate_file(recipe, out, update)
    if as_json:
        print_json("calibrate", report)
    else:
        _tell(report, recipe.model)


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


def _check(recipe: BuildRecipe, against: str, sheet: Path | None, *, as_json: bool) -> None:
    from edgeseg.build.calibration_check import check_frames

    with progress("check") as update:
        report = check_frames(recipe, against=against, sheet=sheet, on_progress=update)
    body = {"check": msgspec.to_builtins(report)}
    if not as_json:
        _tell_check(report)
    if report.verdict == "bad":
        worst = next(finding for finding in report.findings if finding.level == "bad")
        failed = GateFailed(f"The frames of {recipe.calib} are no good to calibrate on.", hint=worst.text)
        failed.report = body
        raise failed
    if as_json:
        print_json("calibrate", body)


def _tell_check(report: CheckReport) -> None:
    light = report.brightness
    rows = [
        ("frames", f"{report.frames}"),
        ("distinct pictures", f"{report.distinct}"),
        ("look like an earlier one", f"{report.duplicates}, {report.copies} as exact copies"),
        ("black, overexposed, flat", f"{report.black}, {report.overexposed}, {report.flat}"),
        (
            "mean luminance, of 255",
            f"{light.minimum:.0f} to {light.maximum:.0f}, median {light.median:.0f}, "
            f"5 to 95 % within {light.p5:.0f} to {light.p95:.0f}",
        ),
    ]
    if report.leak is not None:
        leak = report.leak
        rows.append(("in the evaluation too", f"{len(leak.pairs)}, against {leak.evaluation_frames} of {leak.against}"))
    print_table(f"The frames of {report.source}", ("", "found"), rows)
    classes = [(found.name, points(found.share), f"{found.frames}") for found in report.classes]
    print_table("Classes, as the float model predicts them", ("class", "% of the pixels", "in frames"), classes)
    if report.leak is not None and report.leak.pairs:
        pairs = [(pair.frame, pair.evaluation, "yes" if pair.copy else "no") for pair in report.leak.pairs[:SHOWN]]
        print_table("Frames that are in the evaluation too, the first of them", ("frame", "there", "exact"), pairs)
    for finding in report.findings:
        click.echo(f"{finding.level}: {finding.text}")
    click.echo(f"verdict: {report.verdict}")
    if report.sheet:
        say(f"Wrote {report.sheet}.")


def _select(recipe: BuildRecipe, count: int, out: Path, candidates: int | None, *, as_json: bool) -> None:
    from edgeseg.build.calibration_set import select_frames

    with progress("select") as update:
        report = select_frames(recipe, count, out, candidates=candidates, on_progress=update)
    if as_json:
        print_json("calibrate", {"selection": msgspec.to_builtins(report)})
    else:
        _tell_selection(report, recipe.model)


def _tell_selection(report: SelectReport, model: str) -> None:
    rows = [
        (name, f"{len(choice.classes)}", f"{choice.distance:.3f}", f"{choice.farthest:.3f}")
        for name, choice in (("selected", report.selected), ("evenly spaced", report.even))
    ]
    columns = (f"{report.frames} frames", "classes found", "mean distance of a frame to the nearest", "of the farthest")
    print_table(f"Chosen among {report.candidates} frames of {report.source}", columns, rows)
    click.echo(f"Left out: {report.empty} that show nothing, {report.duplicates} that look like an earlier one.")
    for warning in report.warnings:
        say(f"warning: {warning}")
    say(
        f"Wrote {report.set} and {report.sheet}, {report.seconds:.0f} s.\n"
        f"Next: edgeseg calibrate {model} {report.set} -o {Path(report.set).stem}.ranges.npz, "
        f"or edgeseg build {model} --calib {report.set}"
    )
