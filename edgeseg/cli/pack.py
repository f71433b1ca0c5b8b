"""`edgeseg pack`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.native import build_recipe, tensorrt_given, tensorrt_options
from edgeseg.cli.options import UPSAMPLE, gate_options, model_options, quantization_options, recipe_fields
from edgeseg.cli.report import json_option, print_json, print_table, progress, say

if TYPE_CHECKING:
    from edgeseg.build.pack import PackReport
    from edgeseg.build.report import Gate

__all__ = ["pack"]


@click.command(
    epilog="""\b
Examples:
  edgeseg pack -o street.bundle
  edgeseg pack --recipe jetson-orin-nano --data camvid
  edgeseg pack net.onnx --calib frames/ --backend tensorrt --imgsz 384x640 \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
Then, on the board:
  edgeseg build street.bundle
"""
)
@click.argument("model", required=False)
@click.option("--no-int8", is_flag=True, help="Float graphs alone.")
@click.option("--backend", metavar="NAME|auto", help="Engine library of the board; auto packs for all that are known.")
@click.option("--upsample", type=UPSAMPLE, help="Size at which the best class is picked.")
@quantization_options
@gate_options
@click.option("--no-repair", is_flag=True, help="Let a gate that fails be the end.")
@tensorrt_options
@model_options
@click.option("--recipe", metavar="FILE", help="A build recipe (.toml), or the name of one; options win over it.")
@click.option("-o", "out", type=click.Path(path_type=Path), help="The .bundle file.  [default: by model and size]")
@json_option
def pack(recipe: str | None, out: Path | None, as_json: bool, **options: Any) -> None:
    """Pack MODEL and all that a board needs to build, judge and run it into one file.

    The board then needs edgeseg, numpy, OpenCV and its engine library (TensorRT of JetPack), but neither onnx nor
    ONNX Runtime: edgeseg build FILE.bundle. Inside are the prepared graph, ranges, INT8 and float graphs, the frames
    of the gate with float's class maps, the recipe and the card; it is a .zip archive.

    INT8 is gated here on ONNX Runtime and repaired where it fails, since a board can't change graphs; there it is
    gated again, on the same frames, by what the engine itself computes.
    """
    from edgeseg.build.pack import pack_model

    with progress("pack") as update:
        report = pack_model(_recipe(recipe, options), out, update)
    if as_json:
        print_json("pack", report)
    else:
        _tell(report)


def _recipe(path: str | None, options: dict[str, Any]) -> Any:
    tensorrt = tensorrt_given(options)
    given: dict[str, Any] = {"precision": "fp32"} if options.pop("no_int8") else {}
    given |= {"repair": False} if options.pop("no_repair") else {}
    given |= {"per_tensor": True} if options.pop("per_tensor") else {}
    given |= recipe_fields(options)
    return build_recipe(path, None, given, tensorrt)


def _tell(report: PackReport) -> None:
    rows = [(name, one.verdict, _figure(one.gate), one.reason) for name, one in report.int8.items()]
    if rows:
        print_table("INT8 on ONNX Runtime", ("dialect", "verdict", "gate", "reason"), rows)
    for warning in report.warnings:
        say(f"warning: {warning}")
    say(
        f"Wrote {report.bundle}, {report.size_bytes / 1e6:.0f} MB: {report.graphs} graphs for "
        f"{', '.join(_words(report))}, {report.frames} frames to judge on, {report.seconds:.0f} s."
    )
    say(f"On the board: edgeseg build {Path(report.bundle).name}")


def _words(report: PackReport) -> Iterator[str]:
    alone = len(set(report.backends.values())) > 1
    return (f"{name} (float alone)" if alone and what == "float" else name for name, what in report.backends.items())


def _figure(gate: Gate) -> str:
    return gate.kind if gate.kind in ("none", "golden") else f"{gate.kind}, {gate.frames} frames"
