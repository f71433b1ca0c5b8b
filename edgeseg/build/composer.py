"""The composer: recipe to gated engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx_ir as ir

from edgeseg.backends import Engine, Session
from edgeseg.build.calibrate import Calibration, calibrate
from edgeseg.build.candidates import Candidate, build_candidate, count_convs, plan
from edgeseg.build.gate import GateFrames, Judge, check_limits, gate_frames, golden_frame, verdict_of
from edgeseg.build.prepared import open_prepared
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import BuildReport, CandidateReport, Gate, Speed, Verdict
from edgeseg.build.shelf import Shelf, files_of, write_golden
from edgeseg.card import Card, write_card
from edgeseg.errors import EdgesegError, EngineMismatch, GateFailed, ModelFileError
from edgeseg.files import engines_folder
from edgeseg.graph.io import graph_card, load_graph
from edgeseg.timing import latency, time_in_turns

__all__ = ["build_engine"]

OnProgress = Callable[[float, str], None]
#: A later candidate must be faster than an earlier one by this factor to be picked.
MARGIN = 1.05


@dataclass
class _Tried:
    """A candidate that was built, and what was found out about it."""

    candidate: Candidate
    engine: Engine
    graph_sha256: str
    session: Session | None = None
    gate: Gate | None = None
    verdict: Verdict = "unmeasured"
    reason: str = ""
    speed: Speed | None = None


def build_engine(
    recipe: BuildRecipe, out: Path | None = None, on_progress: OnProgress = lambda *_: None
) -> BuildReport:
    """Build, measure and keep the fastest engine that passes the gate.

    Args:
        recipe: What to build and how it is judged.
        out: Folder that keeps it; by default where `find_engine` looks.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        GateFailed: No engine is good enough. Nothing was replaced; `error.report` has the figures.
        UsageError, ModelFileError, MissingDependency: See the stages.
    """
    started = time.perf_counter()
    check_limits(recipe)
    shelf = Shelf(out or engines_folder())
    on_progress(0.0, "read the model")
    candidates = plan(recipe)
    source, prepared = open_prepared(recipe)
    calibration = calibrate(recipe, source, prepared, lambda share, note: on_progress(0.05 + 0.35 * share, note))
    frames = gate_frames(recipe, _card(prepared), calibration, shipped=source.shipped)
    warnings = (*calibration.warnings, *frames.warnings)
    with shelf.workshop() as room, ExitStack() as stack:
        tried, failed = _build_all(candidates, prepared, calibration, recipe, room, on_progress)
        _measure(tried, frames, recipe, stack, lambda share, note: on_progress(0.5 + 0.5 * share, note))
        pick = _pick(tried)
        if pick is not None and pick.verdict == "unmeasured":
            warnings = (*warnings, f"The engine is kept unmeasured: {pick.reason}.")
        report = _report(pick, tried, failed, calibration, warnings, shelf, time.perf_counter() - started)
        if pick is None or pick.verdict == "fail":
            raise _refusal(report, recipe)
        _keep(shelf, pick, report, stack)
    return report


def _card(prepared: ir.Model) -> Card:
    card = graph_card(prepared)
    if card is None:
        raise ModelFileError("The prepared graph has no card.")
    return card


def _build_all(
    candidates: list[Candidate],
    prepared: ir.Model,
    calibration: Calibration,
    recipe: BuildRecipe,
    room: Path,
    on_progress: OnProgress,
) -> tuple[list[_Tried], list[CandidateReport]]:
    """Build every candidate; one that its library refuses becomes a row that says why."""
    tried, failed = [], []
    for index, candidate in enumerate(candidates):
        on_progress(0.4 + 0.1 * index / len(candidates), f"build {candidate.name}")
        try:
            engine, digest = build_candidate(candidate, prepared, calibration.ranges, recipe, room)
        except (ModelFileError, EngineMismatch) as error:
            if candidate.role == "candidate" and len(candidates) == 1:
                raise
            failed.append(_row(candidate, "fail", error.message))
            continue
        tried.append(_Tried(candidate, engine, digest))
    if not any(one.candidate.role == "candidate" for one in tried):
        reasons = "; ".join(f"{row.backend} {row.dialect}: {row.reason}" for row in failed)
        raise ModelFileError(
            f"No engine could be built: {reasons}.", hint="edgeseg doctor tells what works on this machine."
        )
    return tried, failed


def _measure(
    tried: list[_Tried], frames: GateFrames, recipe: BuildRecipe, stack: ExitStack, on_progress: OnProgress
) -> None:
    """Gate every engine against the first float one, then time all in turns."""
    baseline = next(one for one in tried if one.candidate.dialect == "float")
    for one in tried:
        one.session = stack.enter_context(one.candidate.backend.load(one.engine))
    on_progress(0.0, "float answers to the gate's frames")
    with baseline.candidate.backend.load(baseline.engine, "logits") as logits:
        judge = Judge(frames, _session(baseline), logits)
    for index, one in enumerate(tried):
        on_progress(0.2 + 0.3 * index / len(tried), f"gate {one.candidate.name}")
        one.gate = judge.gate(_session(one))
        one.verdict, one.reason = verdict_of(one.gate, recipe)
    _time(tried, frames, recipe.duration, lambda share: on_progress(0.5 + 0.5 * share, "time all in turns"))


def _time(tried: list[_Tried], frames: GateFrames, seconds: float, on_round: Callable[[float], None]) -> None:
    frame = frames.first(tried[0].engine.card)
    runs = {}
    for one in tried:
        session = _session(one)
        answer = np.empty((frame.shape[0], *frame.shape[1:3]), np.uint8)
        runs[one.candidate.name] = lambda session=session, answer=answer: session.infer(frame, answer)
    samples = {name: latency(ns) for name, ns in time_in_turns(runs, seconds=seconds, on_round=on_round).items()}
    reference = samples.get("onnxruntime fp32 float")
    for one in tried:
        own = samples[one.candidate.name]
        one.speed = Speed(
            p50_ms=own.p50_ms,
            p99_ms=own.p99_ms,
            fps=own.fps,
            float_p50_ms=reference.p50_ms if reference else None,
            ratio=reference.p50_ms / own.p50_ms if reference else None,
        )


def _session(one: _Tried) -> Session:
    if one.session is None:
        raise EdgesegError("The session is not open.")
    return one.session


def _pick(tried: list[_Tried]) -> _Tried | None:
    """The fastest that passes; without any the fastest unmeasured, else the one that failed by least."""
    wanted = [one for one in tried if one.candidate.role == "candidate"]
    for verdict in ("pass", "unmeasured"):
        pick: _Tried | None = None
        for one in (one for one in wanted if one.verdict == verdict):
            if pick is None or _p50(one) * MARGIN < _p50(pick):
                pick = one
        if pick is not None:
            return pick
    return min(wanted, key=lambda one: _loss(one.gate), default=None)


def _p50(one: _Tried) -> float:
    return one.speed.p50_ms if one.speed else float("inf")


def _loss(gate: Gate | None) -> float:
    if gate is None:
        return float("inf")
    return gate.drop if gate.drop is not None else 1 - (gate.agreement or 0.0)


def _row(candidate: Candidate, verdict: Verdict, reason: str) -> CandidateReport:
    return CandidateReport(
        backend=candidate.backend.name,
        dialect=candidate.dialect,
        precision=candidate.precision,
        role=candidate.role,
        verdict=verdict,
        reason=reason,
    )


def _full_row(one: _Tried) -> CandidateReport:
    int8, total, floats = count_convs(load_graph(one.engine.path))
    return msgspec.structs.replace(
        _row(one.candidate, one.verdict, one.reason),
        size_bytes=one.engine.path.stat().st_size,
        graph_sha256=one.graph_sha256,
        int8_convs=int8,
        total_convs=total,
        float_nodes=floats,
        speed=one.speed,
        gate=one.gate,
    )


def _report(
    pick: _Tried | None,
    tried: list[_Tried],
    failed: list[CandidateReport],
    calibration: Calibration,
    warnings: tuple[str, ...],
    shelf: Shelf,
    seconds: float,
) -> BuildReport:
    if pick is None:
        raise EdgesegError("There was no candidate.")
    row = _full_row(pick)
    card = pick.engine.card
    kept = "" if pick.verdict == "fail" else str(shelf.folder / pick.engine.path.name)
    return BuildReport(
        engine=kept,
        card=kept and f"{kept}.json",
        model=card.model,
        size_hw=card.size_hw or (0, 0),
        upsample=card.upsample,
        backend=row.backend,
        precision=row.precision,
        dialect=row.dialect,
        graph_sha256=row.graph_sha256,
        ranges_sha256=calibration.ranges.sha256() if calibration.ranges else "",
        verdict=row.verdict,
        gate=row.gate or Gate(kind="none", frames=0),
        speed=row.speed,
        int8_convs=row.int8_convs,
        total_convs=row.total_convs,
        float_nodes=row.float_nodes,
        candidates=(*(_full_row(one) for one in tried), *failed),
        warnings=warnings,
        release=card.measured.get("release", {}),
        seconds=seconds,
    )


def _refusal(report: BuildReport, recipe: BuildRecipe) -> GateFailed:
    best = next(row for row in report.candidates if row.graph_sha256 == report.graph_sha256)
    error = GateFailed(
        f"No {recipe.precision} engine passed the gate; the best, {report.backend} {report.dialect}: {best.reason}. "
        "Nothing was replaced.",
        hint="Calibrate on frames like those of the camera (--calib), try another --calibrator, "
        "keep nodes in float (--keep-float), or allow more (--max-drop).",
    )
    error.report = msgspec.to_builtins(report)
    return error


def _keep(shelf: Shelf, pick: _Tried, report: BuildReport, stack: ExitStack) -> None:
    """Put the pick's measurements on its card and move all its files onto the shelf."""
    engine, session = pick.engine, _session(pick)
    frame = golden_frame(engine.card)
    write_golden(engine.path, frame[0], session.infer(frame)[0].astype(np.uint8))
    measured = {
        **engine.card.measured,
        "gate": msgspec.to_builtins(report.gate),
        "speed": msgspec.to_builtins(report.speed),
        "verdict": report.verdict,
    }
    write_card(engine.path, msgspec.structs.replace(engine.card, measured=measured))
    stack.close()
    # An unmeasured engine is picked only where nothing measured stands.
    shelf.keep(
        {path.name: path for path in files_of(engine.path)}, engine.path.name if _may_lead(shelf, pick) else None
    )


def _may_lead(shelf: Shelf, pick: _Tried) -> bool:
    if pick.verdict == "pass":
        return True
    current = shelf.current()
    if current is None or not current.is_file():
        return True
    return bool(Engine.open(current).card.measured.get("verdict") != "pass")
