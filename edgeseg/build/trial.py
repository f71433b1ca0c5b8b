"""Engines on trial: gated against float32 on ONNX Runtime, timed in turns, and the best picked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from edgeseg.backends import Session
from edgeseg.build.candidates import Built
from edgeseg.build.gate import GateFrames, Judge, verdict_of
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import Gate, Speed, Verdict
from edgeseg.timing import Latency, latency, time_in_turns

__all__ = ["Trial", "pick_best", "try_all"]

#: A later candidate must be faster than an earlier one by this factor to be picked.
MARGIN = 1.05


@dataclass(frozen=True)
class Trial:
    """A built engine, opened, and what was found out about it."""

    built: Built
    session: Session
    gate: Gate
    verdict: Verdict
    reason: str
    speed: Speed


def try_all(
    built: list[Built],
    frames: GateFrames,
    recipe: BuildRecipe,
    stack: ExitStack,
    on_progress: Callable[[float, str], None],
) -> list[Trial]:
    """Gate every engine against the baseline, then time all in turns.

    Args:
        built: The baseline among them.
        frames: To judge on.
        recipe: Limits, and seconds of timing.
        stack: Closes the sessions.
        on_progress: Told the share done, 0 to 1, and what is under way.
    """
    sessions = [stack.enter_context(one.candidate.backend.load(one.engine)) for one in built]
    baseline = next(index for index, one in enumerate(built) if one.candidate.is_baseline)
    on_progress(0.0, "float answers to the gate's frames")
    with built[baseline].candidate.backend.load(built[baseline].engine, "logits") as logits:
        judge = Judge(frames, sessions[baseline], logits)
    gates = []
    for index, (one, session) in enumerate(zip(built, sessions, strict=True)):
        on_progress(0.2 + 0.3 * index / len(built), f"gate {one.candidate.name}")
        gates.append(judge.gate(session))
    times = _time(sessions, frames, recipe.duration, lambda share: on_progress(0.5 + share / 2, "time all in turns"))
    return [
        Trial(one, session, gate, *verdict_of(gate, recipe), _speed(own, times[baseline]))
        for one, session, gate, own in zip(built, sessions, gates, times, strict=True)
    ]


def _time(
    sessions: list[Session], frames: GateFrames, seconds: float, on_round: Callable[[float], None]
) -> list[Latency]:
    frame = frames.first(sessions[0].card)
    answers = [np.empty(frame.shape[:3], np.uint8) for _ in sessions]
    runs = {
        str(index): lambda session=session, answer=answer: session.infer(frame, answer)
        for index, (session, answer) in enumerate(zip(sessions, answers, strict=True))
    }
    return [latency(samples) for samples in time_in_turns(runs, seconds=seconds, on_round=on_round).values()]


def _speed(own: Latency, baseline: Latency) -> Speed:
    return Speed(
        p50_ms=own.p50_ms,
        p99_ms=own.p99_ms,
        fps=own.fps,
        float_p50_ms=baseline.p50_ms,
        ratio=baseline.p50_ms / own.p50_ms,
    )


def pick_best(trials: list[Trial]) -> Trial:
    """The fastest candidate that passes; without any the fastest unmeasured, else the one that failed by least."""
    wanted = [one for one in trials if one.built.candidate.role == "candidate"]
    for verdict in ("pass", "unmeasured"):
        pick: Trial | None = None
        for one in (one for one in wanted if one.verdict == verdict):
            if pick is None or one.speed.p50_ms * MARGIN < pick.speed.p50_ms:
                pick = one
        if pick is not None:
            return pick
    return min(wanted, key=lambda one: _loss(one.gate))


def _loss(gate: Gate) -> float:
    return gate.drop if gate.drop is not None else 1 - (gate.agreement or 0.0)
