"""Accuracy against latency as a chart."""

from __future__ import annotations

from edgeseg.bench.scatter_chart import Mark, draw_scatter
from edgeseg.bench.tradeoff import Point, Tradeoff

__all__ = ["tradeoff_svg"]

IN_TURNS = "timed in turns in one benchmark"
IN_BUILDS = "each engine as its own build timed it, in turns with float32 on ONNX Runtime"


def tradeoff_svg(found: Tradeoff) -> str:
    """A whole SVG file: INT8 as discs, float as diamonds, a colour for each backend."""
    sizes, upsamples = {point.size_hw for point in found.points}, {point.upsample for point in found.points}
    notes = [
        f"mIoU on {found.frames} labelled frames of {found.data}.",
        f"Median latency of a call, {IN_TURNS if found.in_turns else IN_BUILDS}.",
    ]
    if found.left_out:
        count = "1 engine" if len(found.left_out) == 1 else f"{len(found.left_out)} engines"
        notes.append(f"Left out, because they can't be compared with these: {count}.")
    size = f" at {_size(found.points[0])}" if len(sizes) == 1 else ""
    return draw_scatter(
        f"Accuracy against latency{size}: {found.device}",
        [*notes, *found.warnings],
        [_mark(point, size=len(sizes) > 1, upsample=len(upsamples) > 1) for point in found.points],
        axes=("ms per call, median", "mIoU, points"),
        kinds=("INT8", "float"),
    )


def _mark(point: Point, *, size: bool, upsample: bool) -> Mark:
    """A point, and what sets it apart from the others."""
    apart = [f"{point.precision} {point.backend}"]
    apart += [_size(point)] if size else []
    apart += [f"upsample {point.upsample}"] if upsample else []
    return Mark(
        x=point.p50_ms,
        y=100 * point.miou,
        lines=(point.model, ", ".join(apart)),
        tip=f"{point.model}, {', '.join(apart)}: {point.p50_ms:.2f} ms, mIoU {100 * point.miou:.2f}",
        group=point.backend,
        hollow=point.precision != "int8",
    )


def _size(point: Point) -> str:
    return "{}x{}".format(*point.size_hw)
