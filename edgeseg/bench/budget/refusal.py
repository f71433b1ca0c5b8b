"""What is said where no engine keeps the budget: how far it is, what is possible here, and the command for that."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeseg.bench.budget.choice import figure, most_accurate, possible_fps
from edgeseg.bench.budget.command import command
from edgeseg.bench.budget.report import Front, FrontPoint
from edgeseg.build.recipe import BuildRecipe
from edgeseg.errors import GateFailed

__all__ = ["none_holds", "too_inaccurate", "too_slow"]


def too_slow(front: Front, recipe: BuildRecipe, out: Path | None = None) -> GateFailed:
    """No point is within the budget. What is possible instead may not be as accurate as was asked for."""
    fastest = min(front.points, key=lambda one: one.p90_ms)
    fps = possible_fps(fastest.p90_ms)
    best = most_accurate(front.points, 1e3 / fps) or fastest
    possible = front.budget
    if best.accuracy < (possible.min_miou or 0.0):
        possible = msgspec.structs.replace(possible, min_miou=None)
    return GateFailed(
        f"No engine keeps {_asked(front)} here: the fastest found, {fastest.name}, takes {fastest.p90_ms:.1f} ms at "
        "the 90th percentile. No engine was replaced.",
        hint=f"{fps:g} FPS is possible, with {figure(front, best.accuracy)}: {command(possible, recipe, fps, out)}",
    )


def too_inaccurate(front: Front, recipe: BuildRecipe, beyond: FrontPoint | None, out: Path | None = None) -> GateFailed:
    """No point within the budget is as accurate as is asked for; `beyond` is the cheapest found that is."""
    least = front.budget.min_miou or 0.0
    best = most_accurate(front.points, front.budget_ms)
    assert best is not None, "a point keeps the budget"
    told = (
        f"No engine that keeps {_asked(front)} here has mIoU {100 * least:.2f}: the best, {best.name}, has "
        f"{figure(front, best.accuracy)}. No engine was replaced."
    )
    lower = _at_most(best.accuracy)
    without = f"{f'With --min-miou {lower:g}' if lower > 0 else 'Without --min-miou'} that one is built."
    if beyond is None:
        return GateFailed(told, hint=f"{without} None that was tried beyond the budget has it either.")
    fps = possible_fps(beyond.p90_ms)
    return GateFailed(
        told,
        hint=f"{beyond.name} has {figure(front, beyond.accuracy)} and takes {beyond.p90_ms:.1f} ms: "
        f"{command(front.budget, recipe, fps, out)}\n{without}",
    )


def none_holds(front: Front, recipe: BuildRecipe, out: Path | None = None) -> GateFailed:
    """All that were built failed their gate, or the budget once they were timed again."""
    tried = "; ".join(f"{one.design}: {one.failure}" for one in front.attempts)
    times = [one.p90_ms for one in front.attempts if one.p90_ms is not None and one.p90_ms > front.budget_ms]
    slower = f", or ask for less: {command(front.budget, recipe, possible_fps(min(times)), out)}" if times else ""
    return GateFailed(
        f"No engine that was built for {_asked(front)} did: {tried}. No engine was replaced.",
        hint=f"Is the machine busy with something else? Try again{slower}",
    )


def _at_most(accuracy: float) -> float:
    """A share of four decimals that is not above an accuracy."""
    near = round(accuracy, 4)
    return near if near <= accuracy else round(near - 1e-4, 4)


def _asked(front: Front) -> str:
    return f"{front.budget.fps:g} FPS ({front.budget_ms:.1f} ms)"
