"""From trials to the report of a build, and to the refusal where none is good enough."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeseg.build.candidates import Candidate
from edgeseg.build.choice import MARGIN, fastest_float
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import BuildReport, CandidateReport
from edgeseg.build.trial import Trial
from edgeseg.card import Dialect, Int8Recipe
from edgeseg.device.cpu import inference_device
from edgeseg.errors import GateFailed

__all__ = ["not_instead_of", "reasons_of", "refusal", "refused_row", "summarize"]


def summarize(
    pick: Trial,
    trials: list[Trial],
    refused: list[CandidateReport],
    recipe: BuildRecipe,
    folder: Path,
) -> BuildReport:
    """The report of a build, without what calibrators and repair tried; `seconds` is left at 0.

    Args:
        pick: One of `trials`. If it failed, nothing is kept.
        refused: Rows of the candidates that could not be built.
        recipe: By which the pick was made.
        folder: That keeps the engine.
    """
    card = pick.built.engine.card
    kept = "" if pick.verdict == "fail" else str(folder / pick.built.engine.path.name)
    row = _row(pick, picked=True, rival=None)
    return BuildReport(
        engine=kept,
        card=kept and f"{kept}.json",
        model=card.model,
        size_hw=card.fixed_size_hw,
        upsample=card.upsample,
        backend=row.backend,
        precision=row.precision,
        dialect=row.dialect,
        graph_sha256=row.graph_sha256,
        ranges_sha256=pick.built.quantization.ranges.sha256() if pick.built.quantization else "",
        verdict=pick.verdict,
        gate=pick.gate,
        speed=pick.speed,
        int8_convs=row.int8_convs,
        total_convs=row.total_convs,
        float_nodes=row.float_nodes,
        candidates=(*(_row(one, picked=one is pick, rival=_rival(one, trials)) for one in trials), *refused),
        int8=_recipes(trials),
        prefer=recipe.prefer,
        warnings=_warnings(pick, trials, refused, recipe),
        device=inference_device(),
        baseline=next(one.built.candidate.backend.name for one in trials if one.built.candidate.is_baseline),
        release=card.measured.get("release", {}),
        seconds=0.0,
    )


def refused_row(candidate: Candidate, reason: str) -> CandidateReport:
    """The row of a candidate that its library refuses."""
    return CandidateReport(
        backend=candidate.backend.name,
        dialect=candidate.dialect,
        precision=candidate.precision,
        role=candidate.role,
        spare_depthwise=candidate.spare_depthwise,
        own_tail=candidate.own_tail,
        rest=candidate.rest,
        verdict="fail",
        reason=reason,
    )


def reasons_of(refused: list[CandidateReport]) -> str:
    """Why libraries refused candidates."""
    return "; ".join(f"{row.backend} {row.dialect}: {row.reason.rstrip('.')}" for row in refused)


ALLOW_MORE = {
    "labels": ", or allow more (--max-drop, --max-class-drop)",
    "agreement": ", or ask for less (--min-agreement, --min-class-iou)",
    "golden": ". To have it repaired, give frames to judge on: --data DIR or --frames SOURCE, and --calib",
}


def refusal(report: BuildReport, reason: str, *, packed: bool) -> GateFailed:
    """The error of a build, of a bundle or a model, whose best engine failed for that reason, with the figures."""
    if packed:
        changes = "Pack it anew where its model lies, with frames like those of the camera: edgeseg pack MODEL --calib"
    else:
        changes = (
            "Calibrate on frames like those of the camera (--calib), try another --calibrator, "
            "keep nodes in float (--keep-float)"
        )
    error = GateFailed(
        f"No {report.precision} engine passed the gate; the best, {report.backend} {report.dialect}: {reason}. "
        "Nothing was replaced.",
        hint=f"{changes}{ALLOW_MORE.get(report.gate.kind, '')}. A float engine: --fp16 or --fp32",
    )
    error.report = msgspec.to_builtins(report)
    return error


def not_instead_of(report: BuildReport) -> GateFailed:
    """The error of a build that would put an unmeasured engine in the place of the measured one of the same name."""
    error = GateFailed(
        f"{report.engine} was measured, and the new engine of that name can't be. Nothing was replaced.",
        hint="Give frames to measure it on (--frames or --data), or another folder: -o DIR",
    )
    error.report = {**msgspec.to_builtins(report), "engine": "", "card": ""}
    return error


def _row(one: Trial, *, picked: bool, rival: Trial | None) -> CandidateReport:
    built = one.built
    slow = ""
    if rival is not None and not picked and one.verdict == "pass":
        slow = f"; does not pay, {rival.built.candidate.name} takes {rival.p50_ms:.2f} ms"
    return msgspec.structs.replace(
        refused_row(built.candidate, one.reason + slow),
        verdict=one.verdict,
        picked=picked,
        size_bytes=built.engine.path.stat().st_size,
        graph_sha256=built.graph_sha256,
        int8_convs=built.int8_convs,
        total_convs=built.total_convs,
        float_nodes=built.float_nodes,
        not_int8=built.not_int8,
        untold=built.untold,
        seconds=built.seconds,
        speed=one.speed,
        gate=one.gate,
    )


def _rival(one: Trial, trials: list[Trial]) -> Trial | None:
    """The float engine that an INT8 engine is not clearly faster than."""
    rival = fastest_float(trials)
    if one.built.quantization is None or rival is None or one.p50_ms * MARGIN < rival.p50_ms:
        return None
    return rival


def _recipes(trials: list[Trial]) -> dict[Dialect, Int8Recipe]:
    """How the INT8 graphs that passed were quantized."""
    return {
        one.built.candidate.dialect: one.built.quantization.recipe
        for one in trials
        if one.verdict == "pass" and one.built.quantization is not None
    }


def _warnings(pick: Trial, trials: list[Trial], refused: list[CandidateReport], recipe: BuildRecipe) -> tuple[str, ...]:
    warnings = []
    if not any(one.built.candidate.role == "candidate" for one in trials):
        why = reasons_of([row for row in refused if row.role == "candidate"])
        warnings.append(
            f"No {recipe.precision} engine could be built ({why}); {pick.built.candidate.name} is kept in its place."
        )
    if pick.verdict == "unmeasured":
        warnings.append(f"The engine is kept unmeasured: {pick.reason}.")
    execution = pick.built.engine.card.measured.get("execution", {})
    if fallback := execution.get("gpu_fallback"):
        names = ", ".join(fallback[:3]) + (" …" if len(fallback) > 3 else "")
        warnings.append(f"{len(fallback)} layers run on the GPU, because the accelerator can't do them: {names}.")
    if untold := pick.built.untold:
        count = f"{len(untold)} of {pick.built.int8_convs}"
        warnings.append(f"{pick.built.candidate.backend.name} does not tell what {count} quantized convolutions read.")
    if missed := pick.built.not_int8:
        names = ", ".join(missed[:3]) + (" …" if len(missed) > 3 else "")
        warnings.append(f"{len(missed)} convolutions are quantized and yet run in float: {names}.")
    int8 = [one for one in trials if one.built.quantization is not None and one.verdict == pick.verdict]
    if recipe.precision == "int8" and pick.built.quantization is None and int8:
        fastest = min(int8, key=lambda one: one.p50_ms)
        why = "it loses less" if recipe.prefer == "accuracy" else "INT8 does not pay here"
        warnings.append(
            f"{pick.built.candidate.name} was picked in the place of INT8, {why}: {pick.p50_ms:.2f} ms against "
            f"{fastest.p50_ms:.2f} ms of {fastest.built.candidate.name}."
        )
    return tuple(warnings)
