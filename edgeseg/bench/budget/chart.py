"""The measured front as a picture."""

from __future__ import annotations

from collections.abc import Iterable

from edgeseg.bench.budget.report import Front, FrontPoint
from edgeseg.bench.budget.words import accuracy_words
from edgeseg.bench.scatter_chart import Limit, Mark, draw_scatter

__all__ = ["front_svg"]

AXIS = {"labels": "mIoU, points", "agreement": "% of the pixels as the reference", "shipped": "mIoU, points"}


def front_svg(front: Front) -> str:
    """A whole SVG file: INT8 as discs, float as diamonds, a colour for each model, and a line at the budget.

    Args:
        front: With one point at least.
    """
    notes = [
        accuracy_words(front),
        f"90th percentile from a frame of {front.frame_hw[1]}x{front.frame_hw[0]} to its class map, engines in turns.",
    ]
    if not front.complete:
        notes.append("It was interrupted: this is what was measured until then.")
    title = f"Accuracy against latency: {front.device}"
    names = _short_names({one.model for one in front.points})
    return draw_scatter(
        title,
        notes,
        [_mark(one, names[one.model]) for one in front.points],
        axes=("ms, 90th percentile", AXIS[front.accuracy.kind]),
        kinds=("INT8", "float"),
        limit=Limit(front.budget_ms, f"{front.budget.fps:g} FPS"),
    )


def _short_names(models: Iterable[str]) -> dict[str, str]:
    """What sets names apart, as `nano` of `liteseg-nano-camvid`: words with hyphens between; nothing of one alone."""
    words = {model: model.split("-") for model in models}
    if len(words) == 1:
        return dict.fromkeys(words, "")
    for end in (0, -1):
        while min(map(len, words.values())) > 1 and len({parts[end] for parts in words.values()}) == 1:
            for parts in words.values():
                del parts[end]
    return {model: "-".join(parts) for model, parts in words.items()}


def _mark(one: FrontPoint, name: str) -> Mark:
    """A point; those of the front, and the one that was picked, are named."""
    apart = f"{one.size_hw[0]}x{one.size_hw[1]} {one.upsample} {one.precision}"
    return Mark(
        x=one.p90_ms,
        y=100 * one.accuracy,
        lines=tuple(filter(None, (name, apart))) if one.on_front or one.picked else (),
        tip=f"{one.name}, {one.backend} {one.dialect}: {one.p90_ms:.2f} ms, {100 * one.accuracy:.2f}",
        group=one.model,
        hollow=one.precision != "int8",
        picked=one.picked,
    )
