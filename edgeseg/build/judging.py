"""From built engines to trials: every one gated and timed, and INT8 repaired where it fails or its place is taken."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgeseg.build.calibrate import Calibration
from edgeseg.build.candidates import Built, Candidate, Quantization, build_candidate
from edgeseg.build.choice import MARGIN, pick_best
from edgeseg.build.gate import GateFrames, Judge
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.remedies import Remedies
from edgeseg.build.repair import Repair
from edgeseg.build.report import RepairStep
from edgeseg.build.search import search_frames
from edgeseg.build.trial import Judged, Trial, judge_engine, open_judge, time_all

__all__ = ["Court", "Outcome"]

OnProgress = Callable[[float, str], None]
CHOSEN_ON_ITS_OWN = (
    "The graph was repaired by the frames that it is judged on, since there were no others; "
    "with --calib SOURCE the gate judges on frames that no choice was made by."
)


@dataclass(frozen=True)
class Outcome:
    """Engines on trial; `steps` is what the repair loop did, `warnings` what is to be said of it."""

    trials: list[Trial]
    steps: tuple[RepairStep, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Court:
    """Where the engines of one build are tried.

    Attributes:
        prepared: The float graph.
        calibration: Frames to repair by.
        frames: To judge on.
        recipe: Limits, seconds of timing, and whether to repair at all.
        folder: That further engines are built in.
        on_progress: Told the share done, 0 to 1, and what is under way.
    """

    prepared: ir.Model
    calibration: Calibration
    frames: GateFrames
    recipe: BuildRecipe
    folder: Path
    on_progress: OnProgress

    def try_all(self, built: list[Built], stack: ExitStack) -> Outcome:
        """Gate all engines against the baseline and time them in turns; repair one, and its likes, where that helps.

        Args:
            built: The baseline among them.
            stack: Closes the sessions of the trials.
        """
        self.on_progress(0.0, "float answers to the gate's frames")
        judge = open_judge(next(one for one in built if one.candidate.is_baseline), self.frames, self.recipe)
        judged = []
        for index, one in enumerate(built):
            self.on_progress(0.05 + 0.2 * index / len(built), f"gate {one.candidate.name}")
            judged.append(judge_engine(judge, one, self.recipe))
        with ExitStack() as first:
            trials = self._time(judged, first, 0.25, 0.35)
            lead = self._to_repair(trials)
            if lead is None:
                stack.push(first.pop_all())
                return Outcome(trials)
        repair = self._repair(lead, judge)
        judged = self._follow(judged, repair.best, judge)
        warnings = () if self.calibration.search is not None else (CHOSEN_ON_ITS_OWN,)
        return Outcome(self._time(judged, stack, 0.9, 1.0), tuple(repair.steps), warnings)

    def _time(self, judged: list[Judged], stack: ExitStack, start: float, end: float) -> list[Trial]:
        def tell(share: float) -> None:
            self.on_progress(start + (end - start) * share, "time all in turns")

        return time_all(judged, self.frames, stack, seconds=self.recipe.duration, on_round=tell)

    def _to_repair(self, trials: list[Trial]) -> Trial | None:
        """The fastest INT8 engine that fails, where none passes, or where only a slower float engine does."""
        failed = [one for one in trials if one.built.quantization is not None and one.verdict == "fail"]
        if not self.recipe.repair or self.frames.kind not in ("labels", "agreement") or not failed:
            return None
        lead, pick = min(failed, key=lambda one: one.speed.p50_ms), pick_best(trials, self.recipe)
        if pick.verdict == "fail":
            return lead
        beaten = pick.built.quantization is None and lead.speed.p50_ms * MARGIN < pick.speed.p50_ms
        return lead if beaten else None

    def _repair(self, lead: Trial, judge: Judge) -> Repair:
        candidate = lead.built.candidate
        remedies = Remedies(
            self.prepared,
            candidate.dialect,
            self.calibration,
            search_frames(self.calibration, self.frames),
            self.recipe.upsample,
            lambda share, note: self.on_progress(0.35 + 0.5 * share, f"repair {candidate.name}: {note}"),
        )
        best = Judged(lead.built, lead.gate, lead.verdict, lead.reason)
        repair = Repair(best, remedies, lambda new: self._build_and_judge(candidate, new, judge), self.recipe)
        repair.run()
        return repair

    def _build_and_judge(self, candidate: Candidate, quantization: Quantization, judge: Judge) -> Judged:
        built = build_candidate(candidate, self.prepared, quantization, self.recipe.upsample, self.folder)
        return judge_engine(judge, built, self.recipe)

    def _follow(self, judged: list[Judged], best: Judged, judge: Judge) -> list[Judged]:
        """All engines, those of the repaired dialect quantized as the best one is."""
        lead, quantization = best.built.candidate, best.built.quantization
        found = []
        for one in judged:
            candidate = one.built.candidate
            if candidate is lead:
                found.append(best)
            elif candidate.dialect == lead.dialect and quantization is not None and best.verdict == "pass":
                self.on_progress(0.88, f"gate {candidate.name}, repaired")
                found.append(self._build_and_judge(candidate, quantization, judge))
            else:
                found.append(one)
        return found
