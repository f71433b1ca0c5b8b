"""Which measured point is built."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from edgeseg.bench.budget.report import Front, FrontPoint
from edgeseg.bench.scatter_chart import pareto_front

__all__ = ["allowed_ms", "explain", "figure", "most_accurate", "possible_fps", "ranked"]


def ranked(points: Iterable[FrontPoint], budget_ms: float) -> tuple[FrontPoint, ...]:
    """The points with what they are among each other, the fastest first."""
    ordered = sorted(points, key=lambda one: (one.p90_ms, -one.accuracy, one.name))
    front = set(pareto_front([(one.p90_ms, one.accuracy) for one in ordered]))
    return tuple(
        msgspec.structs.replace(one, on_front=index in front, keeps=one.p90_ms <= budget_ms)
        for index, one in enumerate(ordered)
    )


def most_accurate(
    points: Sequence[FrontPoint], allowed_ms: float, least: float | None = None, without: Iterable[str] = ()
) -> FrontPoint | None:
    """The most accurate point that takes at most so long, of equals the fastest; None where there is none.

    Args:
        points: To choose from.
        allowed_ms: For the 90th percentile.
        least: Accuracy that is asked for at least.
        without: Names of points that were tried already.
    """
    tried = set(without)
    fit = [one for one in points if one.p90_ms <= allowed_ms and one.accuracy >= (least or 0.0)]
    left = [one for one in fit if one.name not in tried]
    return max(left, key=lambda one: (one.accuracy, -one.p90_ms), default=None)


def possible_fps(p90_ms: float) -> float:
    """Frames per second that such a 90th percentile keeps: a whole number from 10 on, else one decimal or a few."""
    fps = 1e3 / p90_ms
    parts = 1 if fps >= 10 else 10 if fps >= 0.1 else 10_000
    return math.floor(parts * fps) / parts


def figure(front: Front, accuracy: float) -> str:
    """An accuracy with what it is."""
    facts, points = front.accuracy, f"{100 * accuracy:.2f}"
    if facts.kind == "labels":
        return f"mIoU {points} on {facts.frames} labelled frames"
    if facts.kind == "shipped":
        return f"mIoU {points} on {facts.frames} frames of {facts.source} when it was shipped"
    return f"{points} % of the pixels as {facts.reference} on {facts.frames} frames"


def allowed_ms(front: Front) -> float:
    """What a point may have taken to be tried: the budget, less by how much slower the machine has since been found.

    That is told by engines of the same library and precision as the point, which were timed again until they kept the
    budget or had been disturbed each time.
    """
    points = {one.name: one for one in front.points}
    slower = [
        one.p90_ms / points[one.design].p90_ms
        for one in front.attempts
        if one.p90_ms is not None and one.p90_ms > front.budget_ms and one.built == points[one.design].kind
    ]
    return front.budget_ms / max([1.0, *slower])


def explain(front: Front, pick: FrontPoint) -> str:
    """Why that point: how many kept the budget, what became of better ones, and what more accuracy would have cost."""
    keeping = sum(one.keeps for one in front.points)
    held = next(one for one in front.attempts if one.design == pick.name and not one.failure)
    failed = [f"{one.design}: {one.failure}" for one in front.attempts if one.failure]
    left = f"that was left of the {keeping} engines" if failed else f"of the {keeping} engines"
    told = (
        f"{pick.name} is the most accurate {left} that keep {front.budget_ms:.1f} ms ({front.budget.fps:g} FPS), of "
        f"{len(front.points)} measured: {figure(front, pick.accuracy)}. Built with its gate as {held.built}, it takes "
        f"{held.p90_ms or pick.p90_ms:.1f} ms."
    )
    if failed:
        told += f" Better ones were built and did not do: {'; '.join(failed)}."
    if (allowed := allowed_ms(front)) < front.budget_ms:
        told += f" The machine had become slower by then: what had taken more than {allowed:.1f} ms was not tried."
    slower = [one for one in front.points if one.accuracy > pick.accuracy and not one.keeps]
    if slower:
        after = min(slower, key=lambda one: one.p90_ms)
        told += (
            f" The next more accurate, {after.name} ({100 * after.accuracy:.2f}), takes {after.p90_ms:.1f} ms: "
            f"{possible_fps(after.p90_ms):g} FPS."
        )
    return told
