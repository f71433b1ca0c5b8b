"""From built engines to trials: every one gated and timed, and INT8 repaired where it fails or its place is taken."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.build.candidates import Built, Candidate, build_candidate
from edgeseg.build.choice import MARGIN, by_speed, pick_best
from edgeseg.build.graph_facts import Quantization
from edgeseg.build.judge import Judge
from edgeseg.build.report import CalibratorRow, CandidateReport, Gate, RepairStep
from edgeseg.build.stock import Stock
from edgeseg.build.summary import refused_row
from edgeseg.build.trial import Judged, Trial, judge_engine, time_all
from edgeseg.device.cuda import CudaError
from edgeseg.errors import EngineMismatch, MissingDependency, ModelFileError

if TYPE_CHECKING:
    from edgeseg.build.repair import Repair

__all__ = ["Court", "Outcome"]

logger = logging.getLogger(__name__)
OnProgress = Callable[[float, str], None]
CHOSEN_ON_THE_GATE = (
    "The graph was repaired by the frames that it is judged on; with --calib SOURCE calibrators, biases and blocks are "
    "chosen by others."
)


@dataclass(frozen=True)
class Outcome:
    """Engines on trial.

    Attributes:
        steps, calibrators: What the repair loop did, and the calibrators that it tried.
        warnings: What is to be said of it.
    """

    trials: list[Trial]
    steps: tuple[RepairStep, ...] = ()
    calibrators: tuple[CalibratorRow, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Court:
    """Where the engines of one build are tried.

    Attributes:
        judge: Knows float's answers.
        stock: Graphs that engines are built from, what may be done to one that fails, and the recipe.
        folder: That further engines are built in.
        on_progress: Told the share done, 0 to 1, and what is under way.
        refused: Gets the rows of further engines that could not be built.
    """

    judge: Judge
    stock: Stock
    folder: Path
    on_progress: OnProgress
    refused: list[CandidateReport] = field(default_factory=list)

    def try_all(self, built: list[Built], stack: ExitStack) -> Outcome:
        """Gate all engines against the baseline and time them in turns; repair one, and its likes, where that helps.

        The best are tried with an own tail too, where their backend has one; then all are timed in turns once more, so
        that no time is compared with one of another hour.

        Args:
            built: The baseline among them.
            stack: Closes the sessions of the trials.
        """
        judged = []
        for index, one in enumerate(built):
            self.on_progress(0.05 + 0.2 * index / len(built), f"gate {one.candidate.name}")
            judged.append(self._judge(one))
        with ExitStack() as first:
            trials = self._time(judged, first, 0.25, 0.35)
            leads = self._to_repair(trials)
            more = [] if leads else self._own_tails(trials)
            if not leads and not more:
                stack.push(first.pop_all())
                return Outcome(trials)
        repairs: list[Repair] = []
        if leads:
            judged = self._repair_all(leads, judged, repairs)
            with ExitStack() as second:
                trials = self._time(judged, second, 0.9, 0.93)
                more = self._own_tails(trials)
                if not more:
                    stack.push(second.pop_all())
        if more:
            trials = self._time([*judged, *more], stack, 0.95, 1.0)
        return Outcome(
            trials,
            tuple(step for repair in repairs for step in repair.steps),
            tuple(row for repair in repairs for row in repair.calibrators),
            self._warnings(repairs) if repairs else (),
        )

    def _repair_all(self, leads: list[Trial], judged: list[Judged], repairs: list[Repair]) -> list[Judged]:
        """All engines, those of a dialect that could be repaired as its best one is."""
        for index, lead in enumerate(leads):
            repairs.append(self._repair(lead, index / len(leads), (index + 1) / len(leads)))
            judged = self._follow(judged, repairs[-1].best)
            if repairs[-1].best.verdict == "pass":
                break
        return judged

    def _judge(self, built: Built) -> Judged:
        """Gate one engine; one that was built and does not run fails, and the others go on."""
        try:
            return judge_engine(self.judge, built, self.stock.recipe)
        except (ModelFileError, EngineMismatch, CudaError) as error:
            if built.candidate.is_baseline:
                raise
            logger.warning("%s does not run: %s", built.candidate.name, error)
            return Judged(built, Gate(kind="none", frames=0), "fail", f"it does not run: {error.message}", runs=False)

    def _own_tails(self, trials: list[Trial]) -> list[Judged]:
        """The best INT8 and the best float engine with a tail of their backend's own.

        Both, so that none is picked for the tail of the other.
        """
        made = (self._with_own_tail(trial) for trial in self._with_a_tail_to_try(trials))
        return [one for one in made if one is not None]

    def _with_a_tail_to_try(self, trials: list[Trial]) -> list[Trial]:
        passing = [one for one in trials if one.session is not None and one.verdict != "fail"]
        passing = [one for one in passing if one.built.candidate.backend.own_tail]
        kinds = ([one for one in passing if (one.built.quantization is None) is float_] for float_ in (False, True))
        best = (min(kind, key=lambda one: one.p50_ms) for kind in kinds if kind)
        return [one for one in best if not one.built.candidate.own_tail]

    def _with_own_tail(self, trial: Trial) -> Judged | None:
        own = dataclasses.replace(trial.built.candidate, own_tail=True, is_baseline=False)
        if not self.stock.graphs.has(own.form(self.stock.recipe.tensorrt)):
            return None
        self.on_progress(0.94, f"build {own.name}")
        try:
            return self._build_and_judge(own, trial.built.quantization)
        except (ModelFileError, EngineMismatch, MissingDependency, CudaError) as error:
            logger.warning("%s was not tried: %s", own.name, error.message)
            self.refused.append(refused_row(own, error.message))
            return None

    def _warnings(self, repairs: list[Repair]) -> tuple[str, ...]:
        attempts = sum(step.gate is not None for repair in repairs for step in repair.steps)
        asked = (
            f"The gate judged {attempts} graphs on the same frames until this one: its figure is favoured a little. "
            "Frames of another day tell: edgeseg eval ENGINE --data DIR"
        )
        return (asked,) if self.stock.search_apart else (asked, CHOSEN_ON_THE_GATE)

    def _time(self, judged: list[Judged], stack: ExitStack, start: float, end: float) -> list[Trial]:
        def tell(share: float) -> None:
            self.on_progress(start + (end - start) * share, "time all in turns")

        return time_all(judged, self.judge.frames, stack, seconds=self.stock.recipe.duration, on_round=tell)

    def _to_repair(self, trials: list[Trial]) -> list[Trial]:
        """The fastest INT8 engine of each dialect that fails, where none passes, or only a slower float engine does."""
        quantized = [one for one in trials if one.built.quantization is not None and one.session is not None]
        failed = [one for one in quantized if one.verdict == "fail"]
        if (
            not self.stock.recipe.repair
            or self.stock.remedies is None
            or self.judge.frames.kind not in ("labels", "agreement")
            or not failed
        ):
            return []
        pick = pick_best(trials, self.stock.recipe)
        if pick.built.quantization is not None and pick.verdict != "fail":
            return []
        leads: dict[str, Trial] = {}
        for one in by_speed(failed):
            if pick.verdict == "fail" or one.p50_ms * MARGIN < pick.p50_ms:
                leads.setdefault(one.built.candidate.dialect, one)
        return list(leads.values())

    def _repair(self, lead: Trial, start: float, end: float) -> Repair:
        from edgeseg.build.repair import STAGES, Repair

        assert self.stock.remedies is not None, "only a graph that can be changed is to be repaired"
        candidate = lead.built.candidate

        def tell(share: float, note: str) -> None:
            done = start + (end - start) * (repair.stage + share) / STAGES
            self.on_progress(0.35 + 0.5 * done, f"repair {candidate.name}: {note}")

        best = Judged(lead.built, lead.gate, lead.verdict, lead.reason)
        remedies = self.stock.remedies(candidate.dialect, tell)
        repair = Repair(best, remedies, lambda new: self._build_and_judge(candidate, new), self.stock.recipe)
        repair.run()
        return repair

    def _build_and_judge(self, candidate: Candidate, quantization: Quantization | None) -> Judged:
        built = build_candidate(candidate, self.stock.graphs, quantization, self.stock.recipe, self.folder)
        return judge_engine(self.judge, built, self.stock.recipe)

    def _follow(self, judged: list[Judged], best: Judged) -> list[Judged]:
        """All engines, those of the repaired dialect quantized as the best one is."""
        lead, quantization = best.built.candidate, best.built.quantization
        found = []
        for one in judged:
            candidate = one.built.candidate
            if candidate is lead:
                found.append(best)
            elif candidate.dialect == lead.dialect and quantization is not None and best.verdict == "pass":
                self.on_progress(0.88, f"gate {candidate.name}, repaired")
                found.append(self._repaired(one, quantization))
            else:
                found.append(one)
        return found

    def _repaired(self, one: Judged, quantization: Quantization) -> Judged:
        """The engine of another graph, or the one before where its library refuses that graph."""
        try:
            return self._build_and_judge(one.built.candidate, quantization)
        except (ModelFileError, EngineMismatch, CudaError) as error:
            logger.warning("%s is left as it was: %s", one.built.candidate.name, error.message)
            return one
