"""Engines on trial: gated against float32, then timed in turns."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import msgspec
import numpy as np

from edgeseg.backends import Session
from edgeseg.build.candidates import Built
from edgeseg.build.gate import GateFrames, verdict_of
from edgeseg.build.judge import Judge
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import Gate, Speed, Verdict
from edgeseg.device.cuda import CudaError
from edgeseg.timing import Latency, latency, time_in_turns

logger = logging.getLogger(__name__)

__all__ = ["Judged", "Trial", "judge_engine", "time_all"]


@dataclass(frozen=True)
class Judged:
    """A built engine, and what the gate found out about it. `runs` is False where it could not be run at all."""

    built: Built
    gate: Gate
    verdict: Verdict
    reason: str
    runs: bool = field(default=True, kw_only=True)


@dataclass(frozen=True)
class Trial(Judged):
    """An engine that was gated and timed, still open; without session and speed where it can't run here."""

    session: Session | None
    speed: Speed | None

    @property
    def p50_ms(self) -> float:
        """Median time of a call; without end where it is not known."""
        return self.speed.p50_ms if self.speed is not None else math.inf

    @property
    def ratio(self) -> float:
        """How many times as fast as the baseline it is; 0 where that is not known."""
        return (self.speed.ratio or 0.0) if self.speed is not None else 0.0


def judge_engine(judge: Judge, built: Built, recipe: BuildRecipe) -> Judged:
    """Gate one engine against float; one that can't run here stays unmeasured."""
    backend = built.candidate.backend
    if obstacle := backend.obstacle():
        why = f"{backend.name} can't run here: {obstacle}"
        return Judged(built, Gate(kind="none", frames=0), "unmeasured", why, runs=False)
    with built.candidate.backend.load(built.engine) as session:
        gate = judge.gate(session)
    return Judged(built, gate, *verdict_of(gate, recipe))


def time_all(
    judged: list[Judged],
    frames: GateFrames,
    stack: ExitStack,
    *,
    seconds: float,
    on_round: Callable[[float], None] = lambda _: None,
) -> list[Trial]:
    """Time all engines that run here in turns.

    Args:
        judged: The baseline among them, which the others are compared with where it runs.
        frames: The first of them is what every engine is timed on.
        stack: Closes the sessions.
        seconds: Of timing together.
        on_round: Told the share done, 0 to 1.
    """
    opened = [(one, _open(one, stack)) for one in judged if one.runs]
    running = [one for one, session in opened if session is not None]
    sessions = [session for _, session in opened if session is not None]
    times = _time(sessions, frames, seconds, on_round) if sessions else []
    timed = zip(running, times, strict=True)
    baseline = next((own for one, own in timed if one.built.candidate.is_baseline), None)
    found = {
        id(one): (session, _speed(own, baseline, session.card.batch))
        for one, session, own in zip(running, sessions, times, strict=True)
    }
    return [Trial(one.built, one.gate, one.verdict, one.reason, *found.get(id(one), (None, None))) for one in judged]


def _open(one: Judged, stack: ExitStack) -> Session | None:
    """The engine's session; None where there is no memory for it beside the others."""
    try:
        return stack.enter_context(one.built.candidate.backend.load(one.built.engine))
    except CudaError as error:
        if one.built.candidate.is_baseline or error.sticky:
            raise
        logger.warning("%s is not timed: %s", one.built.candidate.name, error.message)
        return None


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


def _speed(own: Latency, baseline: Latency | None, batch: int) -> Speed:
    speed = Speed(p50_ms=own.p50_ms, p99_ms=own.p99_ms, fps=batch * own.fps)
    if baseline is None:
        return speed
    return msgspec.structs.replace(speed, float_p50_ms=baseline.p50_ms, ratio=baseline.p50_ms / own.p50_ms)
