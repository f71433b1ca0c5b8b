"""Single stages of the road, from file to file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgeseg.backends.tensorrt.calibration import cache_header, calibration_cache
from edgeseg.backends.tensorrt.trtexec import trtexec_line
from edgeseg.build.calibrate import calibrate_and_watch
from edgeseg.build.engine_graph import count_convs
from edgeseg.build.prepared import open_prepared
from edgeseg.build.quantizations import recipe_for
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Dialect
from edgeseg.data.calibration import open_frames
from edgeseg.files import write_bytes
from edgeseg.graph.io import graph_sha256, require_card, save_graph
from edgeseg.quantize.calibration_cache import cache_entries
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.equalize import equalize
from edgeseg.quantize.lint import Finding, lint_tensorrt
from edgeseg.quantize.ranges import check_ranges, load_ranges, save_ranges
from edgeseg.quantize.tails import Tail, find_tails

__all__ = [
    "CacheReport",
    "CalibrateReport",
    "QuantizeReport",
    "calibrate_file",
    "quantize_file",
    "write_calibration_cache",
]

OnProgress = Callable[[float, str], None]


class CalibrateReport(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of `edgeseg calibrate`.

    Attributes:
        ranges: The file.
        calibration_sha256: Of the frames that were chosen.
        tensors: How many have a range.
        tails: Those that are quantized, the longest tails first.
    """

    ranges: str
    ranges_sha256: str
    weights_sha256: str
    calibration_sha256: str
    frames: int
    size_hw: tuple[int, int]
    tensors: int
    size_bytes: int
    tails: list[Tail]
    warnings: tuple[str, ...]
    seconds: float


class QuantizeReport(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of `edgeseg quantize`.

    Attributes:
        graph: The file.
        int8_convs, total_convs: Convolutions.
        float_nodes: Names of the heavy operators that stay in float.
        findings: What TensorRT would not take; for `s8-sym` alone, and none.
    """

    graph: str
    graph_sha256: str
    ranges_sha256: str
    dialect: Dialect
    calibrator: str
    int8_convs: int
    total_convs: int
    float_nodes: tuple[str, ...]
    findings: list[Finding]
    warnings: tuple[str, ...]
    seconds: float


def calibrate_file(recipe: BuildRecipe, out: Path, on_progress: OnProgress = lambda *_: None) -> CalibrateReport:
    """Measure the ranges of `recipe.model` on `recipe.calib`, and write them to `out`, whole or not at all.

    Raises:
        UsageError: There is no such model or source of frames.
        ModelFileError: The model can't be prepared or run.
    """
    started = time.perf_counter()
    on_progress(0.0, "read the model")
    _, prepared = open_prepared(recipe)
    frames = open_frames(recipe.calib, limit=recipe.calib_frames)
    ranges, warnings = calibrate_and_watch(frames, prepared, on_progress)
    save_ranges(ranges, out)
    return CalibrateReport(
        ranges=str(out),
        ranges_sha256=ranges.sha256(),
        weights_sha256=ranges.weights_sha256,
        calibration_sha256=frames.sha256,
        frames=ranges.frames,
        size_hw=ranges.size_hw,
        tensors=len(ranges.tensors),
        size_bytes=out.stat().st_size,
        tails=find_tails(ranges, prepared),
        warnings=warnings,
        seconds=time.perf_counter() - started,
    )


class CacheReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written for a TensorRT that takes a calibration cache.

    Attributes:
        graph: Float graph: `pixels` (frame - 128, float32, NCHW) in, `logits` out.
        trtexec: The command that builds an engine of both.
    """

    cache: str
    graph: str
    tensorrt: str
    ranges_sha256: str
    calibrator: str
    tensors: int
    trtexec: str
    warnings: tuple[str, ...]


def write_calibration_cache(recipe: BuildRecipe, ranges_file: Path, version: str, out: Path) -> CacheReport:
    """Write the calibration cache of `recipe.model` for a version of TensorRT, and the float graph beside it.

    Raises:
        UsageError: That version reads none, or there is no such model or calibrator.
        ModelFileError: The ranges are damaged or of other weights, or the model can't be prepared.
    """
    header, ranges = cache_header(version), load_ranges(ranges_file)
    model, prepared = open_prepared(recipe)
    warning = check_ranges(ranges, prepared)
    int8 = recipe_for(ranges, model, recipe, require_card(prepared), "s8-sym")
    # The cache goes with the very weights that TensorRT gets.
    float_graph = equalize(prepared, int8.equalization)
    plain = msgspec.structs.replace(int8, equalization={}, equalized=False)
    entries = cache_entries(float_graph, ranges, plain)
    graph, engine = out.with_suffix(".onnx"), out.with_suffix(".engine")
    save_graph(float_graph, graph)
    write_bytes(out, calibration_cache(entries, version))
    line = trtexec_line(str(graph), str(engine), recipe.tensorrt, typed=False, int8=True, half=True, cache=str(out))
    return CacheReport(
        cache=str(out),
        graph=str(graph),
        tensorrt=header.split("-")[1],
        ranges_sha256=ranges.sha256(),
        calibrator=int8.calibrator,
        tensors=entries.count(b"\n"),
        trtexec=line,
        warnings=(warning,) if warning else (),
    )


def quantize_file(
    recipe: BuildRecipe, ranges_file: Path, dialect: Dialect, out: Path, on_progress: OnProgress = lambda *_: None
) -> QuantizeReport:
    """Emit the Q/DQ graph of `recipe.model` in one dialect to `out`: `pixels` in, `logits` out, its card inside.

    Where nothing else is asked for and the ranges are those beside the model, its own recipe is followed as in a build.

    Raises:
        UsageError: There is no such model, calibrator or node.
        ModelFileError: The ranges are damaged or of other weights, or the model can't be prepared.
    """
    started = time.perf_counter()
    ranges = load_ranges(ranges_file)
    on_progress(0.0, "read the model")
    model, prepared = open_prepared(recipe)
    warning = check_ranges(ranges, prepared)
    on_progress(0.5, f"quantize to {dialect}")
    int8 = recipe_for(ranges, model, recipe, require_card(prepared), dialect)
    graph = quantize_onnx(prepared, ranges, dialect=dialect, recipe=int8)
    save_graph(graph, out)
    int8_convs, total_convs, float_nodes = count_convs(graph)
    return QuantizeReport(
        graph=str(out),
        graph_sha256=graph_sha256(graph),
        ranges_sha256=ranges.sha256(),
        dialect=dialect,
        calibrator=int8.calibrator,
        int8_convs=len(int8_convs),
        total_convs=total_convs,
        float_nodes=float_nodes,
        findings=lint_tensorrt(graph) if dialect == "s8-sym" else [],
        warnings=(warning,) if warning else (),
        seconds=time.perf_counter() - started,
    )
