"""`edgeseg quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from edgeseg.card import Dialect
from edgeseg.cli.options import model_options, recipe_fields
from edgeseg.cli.report import json_option, print_json, print_table, progress, say

if TYPE_CHECKING:
    from edgeseg.build.stages import CacheReport, QuantizeReport

__all__ = ["quantize"]

DIALECTS = [dialect for dialect in get_args(Dialect) if dialect != "float"]


@click.command()
@click.argument("model")
@click.argument("ranges", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-o", "out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The .onnx file.")
@click.option("--dialect", type=click.Choice(DIALECTS), default=DIALECTS[0], show_default=True, help="Form of INT8.")
@click.option(
    "--calibrator",
    metavar="NAME",
    help="minmax, percentile, percentile:99.9, entropy or mse.  [default: the model's own for the ranges beside it, "
    "else minmax]",
)
@click.option("--per-tensor", is_flag=True, help="One scale for all weights of an operator.")
@click.option("--keep-float", multiple=True, metavar="NODE", help="Leave this node in float; may be repeated.")
@click.option(
    "--calibration-cache",
    "tensorrt",
    metavar="VERSION",
    help="Write TensorRT's calibration cache for that version instead, and the float graph beside it.",
)
@model_options
@json_option
def quantize(
    model: str, ranges: Path, out: Path, dialect: Any, tensorrt: str | None, as_json: bool, **options: Any
) -> None:
    """Write MODEL as an INT8 graph with Q/DQ nodes, by the RANGES that edgeseg calibrate measured.

    The graph takes pixels (frame - 128, float) and gives logits. Dialects: u8-asym for CPUs, u8-asym-reduced for x86
    CPUs without VNNI, s8-sym for TensorRT. The same options give the same bytes. edgeseg build does this by itself.

    TensorRT before 8.6 (JetPack 4.6 and 5.1), and the DLA up to 10.7, take ranges as a calibration cache instead; the
    command that builds the engine there is printed.

    \b
    Examples:
      edgeseg quantize street.onnx street.ranges.npz -o street.u8.onnx
      edgeseg quantize street.onnx street.ranges.npz -o street.s8.onnx --dialect s8-sym --calibrator percentile:99.9
      edgeseg quantize street.onnx street.ranges.npz -o street.cache --calibration-cache 8.5.2
    """
    from edgeseg.build import BuildRecipe
    from edgeseg.build.stages import quantize_file, write_calibration_cache

    recipe = BuildRecipe(model=model, **recipe_fields(options))
    if tensorrt is not None:
        written = write_calibration_cache(recipe, ranges, tensorrt, out)
        print_json("quantize", written) if as_json else _tell_cache(written)
        return
    with progress("quantize") as update:
        report = quantize_file(recipe, ranges, dialect, out, update)
    if as_json:
        print_json("quantize", report)
    else:
        _tell(report)


def _tell_cache(report: CacheReport) -> None:
    for warning in report.warnings:
        say(f"warning: {warning}")
    say(f"Wrote {report.cache}, {report.tensors} tensors by {report.calibrator}, and {report.graph}.")
    say("The graph takes frame - 128 as float32 (1, 3, H, W), in the card's order of channels, and gives logits.")
    say("Build there:")
    click.echo(report.trtexec)


def _tell(report: QuantizeReport) -> None:
    columns = ("dialect", "calibrator", "INT8 convs", "in float")
    convs = f"{report.int8_convs}/{report.total_convs}"
    print_table("Quantized", columns, [(report.dialect, report.calibrator, convs, ", ".join(report.float_nodes))])
    for finding in report.findings:
        say(f"warning: TensorRT would not take {finding.node}: {finding.message}")
    for warning in report.warnings:
        say(f"warning: {warning}")
    say(f"Wrote {report.graph}, graph {report.graph_sha256[:12]}, {report.seconds:.0f} s.")
