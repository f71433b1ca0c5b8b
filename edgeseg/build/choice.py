"""Which of the engines on trial is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgeseg.build.gate import excess
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import Verdict
from edgeseg.build.trial import Trial

__all__ = ["MARGIN", "by_speed", "fastest_float", "pick_best"]

#: How many times as fast a later candidate must be to be picked, and INT8 to be worth what it loses.
MARGIN = 1.05


def pick_best(trials: list[Trial], recipe: BuildRecipe) -> Trial:
    """The engine to keep.

    Where no candidate of the precision that was asked for passes, it is one of those that could not be measured, else
    the one that failed by least. Where INT8 does not pay, a float engine takes its place.

    Args:
        trials: All that were measured, the baseline and other float engines among them.
        recipe: Its `prefer`, and its limits.
    """
    wanted = [one for one in trials if one.built.candidate.role == "candidate"] or _stand_ins(trials)
    verdict: Verdict = "pass" if any(one.verdict == "pass" for one in wanted) else "unmeasured"
    passing = [one for one in wanted if one.verdict == verdict]
    if not passing:
        return min(wanted, key=lambda one: excess(one.gate, recipe))
    if recipe.precision != "int8":
        return min(passing, key=_loss) if recipe.prefer == "accuracy" else _fastest(passing, MARGIN)
    floats = [one for one in trials if one.verdict == verdict and one.built.candidate.dialect == "float"]
    rivals = [] if recipe.even_if_slower else floats
    if recipe.prefer == "accuracy":
        worthwhile = [one for one in (*passing, *rivals) if one.ratio > 1]
        return min(worthwhile or passing, key=_loss)
    factor = MARGIN if recipe.prefer == "balanced" else 1.0
    pick, rival = _fastest(passing, factor), fastest_float(rivals)
    if rival is None or pick.p50_ms * factor <= rival.p50_ms:
        return pick
    return rival


def _stand_ins(trials: list[Trial]) -> list[Trial]:
    """Float engines of other libraries than the baseline's, where no candidate could be built."""
    baseline = next(one.built.candidate.backend.name for one in trials if one.built.candidate.is_baseline)
    return [one for one in trials if one.built.candidate.backend.name != baseline] or trials


def fastest_float(trials: Iterable[Trial]) -> Trial | None:
    """The fastest float engine, which an INT8 engine would replace."""
    floats = [one for one in trials if one.built.candidate.dialect == "float"]
    return min(floats, key=lambda one: one.p50_ms, default=None)


def by_speed(trials: Iterable[Trial]) -> Iterator[Trial]:
    """The fastest first; those that are about as fast stay in their order, so that chance decides nothing."""
    left = list(trials)
    while left:
        fastest = _fastest(left, MARGIN)
        yield fastest
        left = [one for one in left if one is not fastest]


def _fastest(trials: list[Trial], factor: float) -> Trial:
    """The fastest; a later one must be `factor` times as fast as an earlier one."""
    pick = trials[0]
    for one in trials[1:]:
        if one.p50_ms * factor < pick.p50_ms:
            pick = one
    return pick


def _loss(one: Trial) -> float:
    """What an engine loses by its gate's figure, 0 to 1."""
    if one.gate.drop is not None:
        return one.gate.drop
    return 1 - (one.gate.agreement or 0.0)
