"""What is said where no engine keeps the budget: how far it is, what is possible here, and the command for that."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from edgeseg.bench.budget.choice import figure, most_accurate, possible_fps
from edgeseg.bench.budget.report import Budget, Front, FrontPoint
from edgeseg.build.recipe import BuildRecipe
from edgeseg.errors import GateFailed

__all__ = ["command", "none_holds", "too_inaccurate", "too_slow"]


#: What is typed again where it was given, besides what a search fixes.
KEPT = (
    *("data", "frames", "calib", "calibrator", "gate_frames", "max_drop", "max_class_drop", "min_agreement"),
    *("mean", "std", "input_range", "channels", "classes", "output", "threshold", "network", "pixel_format"),
)


def too_slow(front: Front, recipe: BuildRecipe) -> GateFailed:
    """No point is within the budget."""
    fastest = min(front.points, key=lambda one: one.p90_ms)
    fps = possible_fps(fastest.p90_ms)
    best = most_accurate(front.points, 1e3 / fps) or fastest
    return GateFailed(
        f"No engine keeps {_asked(front)} here: the fastest found, {fastest.name}, takes {fastest.p90_ms:.1f} ms at "
        "the 90th percentile. Nothing was replaced.",
        hint=f"{fps:g} FPS is possible, with {figure(front, best.accuracy)}: {command(front.budget, recipe, fps)}",
    )


def too_inaccurate(front: Front, recipe: BuildRecipe, beyond: FrontPoint | None) -> GateFailed:
    """No point within the budget is as accurate as is asked for; `beyond` is the cheapest found that is."""
    least = front.budget.min_miou or 0.0
    best = most_accurate(front.points, front.budget_ms)
    assert best is not None, "a point keeps the budget"
    told = (
        f"No engine that keeps {_asked(front)} here has mIoU {100 * least:.2f}: the best, {best.name}, has "
        f"{figure(front, best.accuracy)}. Nothing was replaced."
    )
    lower = f"{100 * best.accuracy:.2f}".rstrip("0")
    without = f"With --min-miou {lower[:-1] if lower.endswith('.') else lower} that one is built."
    if beyond is None:
        return GateFailed(told, hint=f"{without} None that was tried beyond the budget has it either.")
    fps = possible_fps(beyond.p90_ms)
    return GateFailed(
        told,
        hint=f"{beyond.name} has {figure(front, beyond.accuracy)} and takes {beyond.p90_ms:.1f} ms: "
        f"{command(front.budget, recipe, fps)}\n{without}",
    )


def none_holds(front: Front, recipe: BuildRecipe) -> GateFailed:
    """All that were built failed their gate, or the budget once they were timed again."""
    tried = "; ".join(f"{one.design}: {one.failure}" for one in front.attempts)
    times = [one.p90_ms for one in front.attempts if one.p90_ms is not None]
    slower = f", or ask for less: {command(front.budget, recipe, possible_fps(min(times)))}" if times else ""
    return GateFailed(
        f"No engine that was built for {_asked(front)} did: {tried}. Nothing was replaced.",
        hint=f"Is the machine busy with something else? Try again{slower}",
    )


def command(budget: Budget, recipe: BuildRecipe, fps: float) -> str:
    """What is typed to ask for other frames per second, and all else as it was."""
    words = ["edgeseg", "build", *([recipe.model] if "model" in budget.fixed else []), "--fps", f"{fps:g}"]
    words += ["--min-miou", f"{budget.min_miou:g}"] if budget.min_miou is not None else []
    words += [f"--{recipe.precision}"] if "precision" in budget.fixed else []
    words += ["--imgsz", "{}x{}".format(*recipe.imgsz)] if recipe.imgsz is not None else []
    words += ["--upsample", recipe.upsample] if "upsample" in budget.fixed else []
    words += _given({"--backend": recipe.backend}, "auto")
    for field in KEPT:
        value = getattr(recipe, field)
        if value != getattr(BuildRecipe(), field):
            spelled = ",".join(f"{one:g}" for one in value) if isinstance(value, tuple) else str(value)
            words += [f"--{field.replace('_', '-')}", spelled]
    return shlex.join(words)


def _given(options: dict[str, str], default: str) -> Sequence[str]:
    return [word for name, value in options.items() if value != default for word in (name, value)]


def _asked(front: Front) -> str:
    return f"{front.budget.fps:g} FPS ({front.budget_ms:.1f} ms)"
