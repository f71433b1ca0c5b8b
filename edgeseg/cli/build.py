"""`edgeseg build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.options import UPSAMPLE, model_options, recipe_fields
from edgeseg.cli.report import json_option, points, print_json, print_table, progress, say

if TYPE_CHECKING:
    from edgeseg.build import BuildReport
    from edgeseg.build.report import CandidateReport, Gate

__all__ = ["build", "build_table"]


@click.command(
    epilog="""\b
Examples:
  edgeseg build --int8
  edgeseg build --int8 --data camvid --upsample full
  edgeseg build --int8 --frames street.mp4 --backend openvino --imgsz 384x640
  edgeseg build net.onnx --int8 --calib frames/ --classes 'road,car,sky' \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  edgeseg build --recipe cpu
"""
)
@click.argument("model", required=False)
@click.option("--fp32", is_flag=True, help="A float engine.")
@click.option("--bf16", is_flag=True, help="A bfloat16 engine, where the CPU has it.")
@click.option("--fp16", is_flag=True, help="A half-precision engine, where a backend has it.")
@click.option("--int8", is_flag=True, help="An INT8 engine, gated against float. The default.")
@click.option("--backend", metavar="NAME|auto", help="Engine library; auto tries all that are installed.")
@click.option("--upsample", type=UPSAMPLE, help="Size at which the best class is picked.")
@click.option("--calib", metavar="SOURCE", help="Frames to measure ranges on: folder, list, video, calibration set.")
@click.option("--calib-frames", type=click.IntRange(1), help="At most so many of them, evenly spaced.  [default: 100]")
@click.option("--calibrator", metavar="NAME", help="minmax, percentile, percentile:99.9 or entropy.")
@click.option("--keep-float", multiple=True, metavar="NODE", help="Leave this node in float; may be repeated.")
@click.option("--data", metavar="DIR", help="Labelled frames to gate on: images/ with masks/ or labels/, 255 void.")
@click.option("--frames", metavar="SOURCE", help="Frames without labels to gate on.")
@click.option("--gate-frames", type=click.IntRange(1), help="At most so many.  [default: all with labels, else 100]")
@click.option("--max-drop", type=float, metavar="POINTS", help="Largest drop of mIoU; needs --data.  [default: 0.5]")
@click.option("--max-class-drop", type=float, metavar="POINTS", help="Of a class above 1 % of pixels.  [default: 2.0]")
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="Seconds of timing in turns.  [default: 6]")
@model_options
@click.option("--recipe", metavar="FILE", help="A build recipe (.toml), or the name of one; options win over it.")
@click.option("-o", "out", type=click.Path(path_type=Path, file_okay=False), help="Folder that keeps the engine.")
@json_option
def build(recipe: str | None, out: Path | None, as_json: bool, **options: Any) -> None:
    """Build an engine from MODEL, measure it, and keep the fastest that passes the gate.

    MODEL is a name of edgeseg models, an .onnx file of any segmentation network, or a checkpoint; without it
    the default network. What was kept before stays whole until another engine has passed.
    """
    from edgeseg.build import build_engine

    with progress("build") as update:
        report = build_engine(_recipe(recipe, options), out, update)
    if as_json:
        print_json("build", report)
        return
    build_table(report)
    for warning in report.warnings:
        say(f"warning: {warning}")
    if report.gate.kind == "golden" and report.release:
        say(_release_line(report.release))
    say(_last_line(report))


def _recipe(path: str | None, options: dict[str, Any]) -> Any:
    import msgspec

    from edgeseg.build import BuildRecipe
    from edgeseg.recipes import decode_toml, find_toml

    recipe = decode_toml(find_toml(path, "engines"), BuildRecipe) if path else BuildRecipe()
    asked = [name for name in ("fp32", "bf16", "fp16", "int8") if options.pop(name)]
    if len(asked) > 1:
        raise click.UsageError(
            f"{' and '.join(f'--{name}' for name in asked)} were given; one engine has one precision."
        )
    return msgspec.structs.replace(recipe, **recipe_fields(options), **({"precision": asked[0]} if asked else {}))


def build_table(report: BuildReport) -> None:
    """Print what was tried, each with its figures and verdict."""
    accuracy = {"labels": "mIoU", "agreement": "agreement", "golden": "agreement"}.get(report.gate.kind, "accuracy")
    columns = ("backend", "dialect", "precision", "ms p50", "p99", "FPS", accuracy, "MB", "INT8 convs", "verdict")
    rows = [_cells(row) for row in report.candidates]
    print_table("Tried, timed in turns", columns, rows)


def _cells(row: CandidateReport) -> tuple[str, ...]:
    verdict = "reference" if row.role == "reference" else f"{row.verdict}: {row.reason}"
    speed = row.speed
    figures = (f"{speed.p50_ms:.2f}", f"{speed.p99_ms:.2f}", f"{speed.fps:.1f}") if speed else ("-", "-", "-")
    return (
        row.backend,
        row.dialect,
        row.precision,
        *figures,
        _accuracy(row.gate),
        f"{row.size_bytes / 1e6:.1f}",
        f"{row.int8_convs}/{row.total_convs}",
        f"{'▶ ' if row.picked else ''}{verdict}",
    )


def _accuracy(gate: Gate | None) -> str:
    if gate is None or gate.kind == "none":
        return "-"
    value = gate.miou if gate.kind == "labels" else gate.agreement
    return points(value)


def _release_line(release: dict[str, Any]) -> str:
    gate = release["gate"]
    return (
        f"Accuracy was measured when the model was shipped, on {gate['frames']} labelled frames: mIoU "
        f"{points(gate['miou'])}, float {points(gate['float_miou'])} ({release['backend']} {release['dialect']}). "
        "Measure yours: --data DIR"
    )


def _last_line(report: BuildReport) -> str:
    gate, speed = report.gate, report.speed
    judged = {
        "labels": "labelled frames",
        "agreement": "frames, agreement with float (not accuracy)",
        "golden": "rendered frames, which prove the engine and not its accuracy",
        "none": "frames",
    }[gate.kind]
    ratio = f", {speed.ratio:.2f} times as fast as float on ONNX Runtime" if speed and speed.ratio else ""
    return (
        f"Kept {report.engine}\n"
        f"{report.backend} {report.precision} {report.dialect}: {report.verdict} on {gate.frames} {judged}{ratio}. "
        f"{report.seconds:.0f} s.\nNext: edgeseg run VIDEO, or edgeseg eval {report.engine} --data DIR"
    )
