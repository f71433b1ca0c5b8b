"""`edgeseg build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.build.recipe import PREFERENCES
from edgeseg.cli.budget import build_for_budget, share
from edgeseg.cli.build_tables import last_line, print_build_tables, release_line, small_classes_line
from edgeseg.cli.native import build_recipe, tensorrt_given, tensorrt_options
from edgeseg.cli.options import UPSAMPLE, Finite, gate_options, model_options, quantization_options, recipe_fields
from edgeseg.cli.report import json_option, print_json, progress, say
from edgeseg.errors import GateFailed

if TYPE_CHECKING:
    from edgeseg.build import BuildReport
    from edgeseg.build.recipe import BuildRecipe

__all__ = ["build"]


@click.command(
    epilog="""\b
Examples:
  edgeseg build --int8
  edgeseg build --int8 --data camvid --upsample full
  edgeseg build --int8 --frames street.mp4 --backend openvino --imgsz 384x640
  edgeseg build net.onnx --int8 --calib frames/ --classes 'road,car,sky' \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  edgeseg build net.onnx --int8 --calib drive.mp4 --calibrator auto --data street/ --max-drop 0.3
  edgeseg build --int8 --per-tensor --calib camvid-train --data camvid
  edgeseg build --int8 --backend tensorrt --workspace 512 --optimization-level 5
  edgeseg build --fps 30                                  the most accurate of the shipped models that keeps it here
  edgeseg build --fps 30 --min-miou 0.6 --data camvid
  edgeseg build liteseg-nano-camvid --fps 60 --int8 --frames street.mp4
  edgeseg build --recipe cpu
  edgeseg build street.bundle
"""
)
@click.argument("model", required=False)
@click.option("--fp32", is_flag=True, help="A float engine.")
@click.option("--bf16", is_flag=True, help="A bfloat16 engine, where the CPU has it.")
@click.option("--fp16", is_flag=True, help="A half-precision engine, where a backend has it.")
@click.option("--int8", is_flag=True, help="An INT8 engine, gated against float. The default.")
@click.option("--backend", metavar="NAME|auto", help="Engine library; auto tries all that are installed.")
@click.option("--upsample", type=UPSAMPLE, help="Size at which the best class is picked.")
@quantization_options
@gate_options
@click.option(
    "--fps",
    type=Finite(0, min_open=True),
    metavar="N",
    help="Search models, sizes, --upsample and precisions for the most accurate engine that needs at most 1/N s for "
    "90 % of the frames here; what is given besides is not searched.",
)
@click.option("--min-miou", type=share, metavar="SHARE", help="With --fps: least mIoU, as in 0.6; best with --data.")
@click.option("--even-if-slower", is_flag=True, help="Keep INT8 though a float engine is as fast here.")
@click.option("--no-repair", is_flag=True, help="Let a gate that fails be the end.")
@click.option(
    "--prefer",
    type=click.Choice(list(PREFERENCES)),
    help=" ".join(f"{name}: {what}." for name, what in PREFERENCES.items()) + "  [default: balanced]",
)
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="Seconds of timing in turns.  [default: 6]")
@tensorrt_options
@model_options
@click.option(
    "--recipe",
    metavar="FILE",
    help="A build recipe (.toml), or the name of one; options win over it.  [default: the board's own]",
)
@click.option("-o", "out", type=click.Path(path_type=Path, file_okay=False), help="Folder that keeps the engine.")
@json_option
def build(
    recipe: str | None, fps: float | None, min_miou: float | None, out: Path | None, as_json: bool, **options: Any
) -> None:
    """Build an engine from MODEL, measure it, and keep the one that passes the gate and is preferred.

    MODEL is a name of edgeseg models, an .onnx file of any segmentation network, a checkpoint, or a bundle of edgeseg
    pack; without it the default network. What was kept before stays whole until another engine has passed.

    Where no INT8 engine passes on --data or --frames, its graph is repaired: another calibrator, channels brought
    to like magnitudes, corrected biases, then the most sensitive blocks back to float. Where none passes then, the
    exit code is 7.

    With --fps the engine is searched for: engines of the shipped models at several sizes are timed in turns, from a
    camera's frame to its class map, and scored: mIoU on --data, else that which their cards tell of each size; a
    network of your own in agreement with itself in float, on --frames or a demo video. The most accurate that keeps the
    budget is built as above and timed again. The whole front lies in front.json and front.svg beside the engine, from
    the first measurement on.
    """
    import msgspec

    from edgeseg.build import BuildReport, build_engine

    if fps is not None:
        asked, given = _recipe(recipe, options)
        build_for_budget(fps, min_miou, asked, given, out, as_json=as_json)
        return
    if min_miou is not None:
        raise click.UsageError("--min-miou goes with --fps. Without a search, the gate's limit is --max-drop.")
    try:
        with progress("build") as update:
            report = build_engine(_recipe(recipe, options)[0], out, update)
    except GateFailed as error:
        if not as_json:
            _tell(msgspec.convert(error.report, BuildReport))
        raise
    if as_json:
        print_json("build", report)
        return
    _tell(report)
    say(last_line(report))


def _tell(report: BuildReport) -> None:
    print_build_tables(report)
    for warning in report.warnings:
        say(f"warning: {warning}")
    if line := small_classes_line(report.gate):
        say(line)
    if report.gate.kind == "golden" and report.release and report.verdict == "pass":
        say(release_line(report.release))


def _recipe(path: str | None, options: dict[str, Any]) -> tuple[BuildRecipe, set[str]]:
    """The recipe, and its fields that were given, be it by a recipe that was named."""
    from edgeseg.build.boards import board_recipe
    from edgeseg.device import describe_device
    from edgeseg.recipes import find_toml, keys_in

    asked_for = path is not None
    if path is None:
        device = describe_device()
        path = board_recipe(device) or None
        if path is not None:
            say(f"Building by the recipe {path}, for {device.board or device.gpus[0].name}. Others: --recipe NAME")
    asked = [name for name in ("fp32", "bf16", "fp16", "int8") if options.pop(name)]
    if len(asked) > 1:
        raise click.UsageError(
            f"{' and '.join(f'--{name}' for name in asked)} were given; one engine has one precision."
        )
    tensorrt = tensorrt_given(options)
    given: dict[str, Any] = {"precision": asked[0]} if asked else {}
    given |= {"repair": False} if options.pop("no_repair") else {}
    given |= {name: True for name in ("per_tensor", "even_if_slower") if options.pop(name)}
    given |= recipe_fields(options)
    named = set(keys_in(find_toml(path, "engines"))) if asked_for and path is not None else set()
    return build_recipe(path, options["model"], given, tensorrt), named | set(given)
