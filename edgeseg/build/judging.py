"""From built engines to judged ones: every one through the gate, and INT8 repaired where none passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgeseg.build.calibrate import Calibration
from edgeseg.build.candidates import Built, Candidate, Quantization, build_candidate
from edgeseg.build.gate import GateFrames
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.remedies import Remedies
from edgeseg.build.repair import Repair
from edgeseg.build.report import RepairStep
from edgeseg.build.search import search_frames
from edgeseg.build.trial import Judged, judge_engine, open_judge

__all__ = ["Judgement", "judge_and_repair"]

OnProgress = Callable[[float, str], None]
CHOSEN_ON_ITS_OWN = (
    "The graph was repaired by the frames that it is judged on, since there were no others; "
    "with --calib SOURCE the gate judges on frames that no choice was made by."
)


@dataclass(frozen=True)
class Judgement:
    """Engines and the gate's verdicts; `steps` is what the repair loop did, `warnings` what is to be said of it."""

    judged: list[Judged]
    steps: tuple[RepairStep, ...] = ()
    warnings: tuple[str, ...] = ()


def judge_and_repair(
    built: list[Built],
    prepared: ir.Model,
    calibration: Calibration,
    frames: GateFrames,
    recipe: BuildRecipe,
    folder: Path,
    on_progress: OnProgress,
) -> Judgement:
    """Gate every engine against the baseline; where INT8 engines fail and none passes, repair their graph.

    The engine that is the likeliest fastest is repaired; what helped it is then done to the others of its dialect.

    Args:
        built: The baseline among them.
        prepared: The float graph.
        calibration: Frames to repair by.
        frames: To judge on.
        recipe: Limits, and whether to repair at all.
        folder: That further engines are built in.
        on_progress: Told the share done, 0 to 1, and what is under way.
    """
    on_progress(0.0, "float answers to the gate's frames")
    judge = open_judge(next(one for one in built if one.candidate.is_baseline), frames, recipe)
    judged = []
    for index, one in enumerate(built):
        on_progress(0.1 + 0.2 * index / len(built), f"gate {one.candidate.name}")
        judged.append(judge_engine(judge, one, recipe))
    wanted = [one for one in judged if one.built.candidate.role == "candidate"]
    failed = [one for one in wanted if one.verdict == "fail" and one.built.quantization is not None]
    needed = recipe.repair and frames.kind in ("labels", "agreement") and failed and len(failed) == len(wanted)
    if not needed:
        return Judgement(judged)

    def try_out(candidate: Candidate, quantization: Quantization) -> Judged:
        return judge_engine(judge, build_candidate(candidate, prepared, quantization, recipe.upsample, folder), recipe)

    lead = failed[0].built.candidate
    remedies = Remedies(
        prepared,
        lead.dialect,
        calibration,
        search_frames(calibration, frames),
        recipe.upsample,
        lambda share, note: on_progress(0.3 + 0.6 * share, f"repair {lead.name}: {note}"),
    )
    repair = Repair(failed[0], remedies, lambda quantization: try_out(lead, quantization), recipe)
    repair.run()
    warnings = () if calibration.search is not None else (CHOSEN_ON_ITS_OWN,)
    return Judgement(_repaired(judged, repair.best, try_out, on_progress), tuple(repair.steps), warnings)


def _repaired(
    judged: list[Judged],
    best: Judged,
    try_out: Callable[[Candidate, Quantization], Judged],
    on_progress: OnProgress,
) -> list[Judged]:
    """All engines, those of the repaired dialect quantized as the best one is."""
    lead, quantization = best.built.candidate, best.built.quantization
    found = []
    for one in judged:
        candidate = one.built.candidate
        if candidate is lead:
            found.append(best)
        elif candidate.dialect == lead.dialect and quantization is not None and best.verdict == "pass":
            on_progress(0.9, f"gate {candidate.name}, repaired")
            found.append(try_out(candidate, quantization))
        else:
            found.append(one)
    return found
