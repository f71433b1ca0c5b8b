"""The measured front as a picture."""

from __future__ import annotations

from edgeseg.bench.budget.report import Front, FrontPoint
from edgeseg.bench.scatter_chart import Limit, Mark, draw_scatter

__all__ = ["front_svg"]

WHAT = {
    "labels": "mIoU on {frames} labelled frames of {source}, at their own resolution.",
    "agreement": "Agreement: share of all pixels with the class of {reference} in float32, on {frames} frames of "
    "{source}. It is no mIoU.",
    "shipped": "mIoU on {frames} frames of {source}, measured when the models were shipped.",
}
AXIS = {"labels": "mIoU, points", "agreement": "% of the pixels as the reference", "shipped": "mIoU, points"}


def front_svg(front: Front) -> str:
    """A whole SVG file: INT8 as discs, float as diamonds, a colour for each model, and a line at the budget.

    Args:
        front: With one point at least.
    """
    facts = front.accuracy
    what = WHAT[facts.kind].format(frames=facts.frames, source=facts.source, reference=facts.reference)
    notes = [
        what,
        f"90th percentile from a frame of {front.frame_hw[1]}x{front.frame_hw[0]} to its class map, engines in turns.",
    ]
    if not front.complete:
        notes.append("It was interrupted: this is what was measured until then.")
    title = f"Accuracy against latency: {front.device}"
    several = len({one.model for one in front.points}) > 1
    return draw_scatter(
        title,
        notes,
        [_mark(one, several=several) for one in front.points],
        axes=("ms, 90th percentile", AXIS[facts.kind]),
        kinds=("INT8", "float"),
        limit=Limit(front.budget_ms, f"{front.budget.fps:g} FPS"),
    )


def _mark(one: FrontPoint, *, several: bool) -> Mark:
    """A point; those of the front, and the one that was picked, are named."""
    apart = f"{one.size_hw[0]}x{one.size_hw[1]} {one.upsample} {one.precision}"
    return Mark(
        x=one.p90_ms,
        y=100 * one.accuracy,
        lines=((one.model, apart) if several else (apart,)) if one.on_front or one.picked else (),
        tip=f"{one.name}, {one.backend} {one.dialect}: {one.p90_ms:.2f} ms, {100 * one.accuracy:.2f}",
        group=one.model,
        hollow=one.precision != "int8",
        picked=one.picked,
    )
