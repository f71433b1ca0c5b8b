"""The composer: recipe to gated engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.backends import Engine
from edgeseg.build.calibrate import calibrate
from edgeseg.build.candidates import Built, Candidate, build_candidate, plan
from edgeseg.build.choice import pick_best
from edgeseg.build.engine_graph import Quantization, depthwise_convs
from edgeseg.build.gate import check_limits, gate_frames, golden_frame, golden_scene
from edgeseg.build.golden import write_golden
from edgeseg.build.identity import sign
from edgeseg.build.judging import Court, Outcome
from edgeseg.build.prepared import open_prepared
from edgeseg.build.quantizations import first_quantizations
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import BuildReport, CalibratorRow, CandidateReport
from edgeseg.build.store import EngineStore, files_of
from edgeseg.build.summary import not_instead_of, refusal, refused_row, summarize
from edgeseg.build.trial import Trial
from edgeseg.card import Dialect, write_card
from edgeseg.errors import EngineMismatch, ModelFileError
from edgeseg.evaluate import class_maps, confident_pixels
from edgeseg.files import engines_folder, write_bytes
from edgeseg.graph.io import require_card
from edgeseg.labels import VOID

__all__ = ["build_engine"]

OnProgress = Callable[[float, str], None]


def build_engine(
    recipe: BuildRecipe, out: Path | None = None, on_progress: OnProgress = lambda *_: None
) -> BuildReport:
    """Build, measure and keep the engine that passes the gate and is preferred.

    Args:
        recipe: What to build and how it is judged.
        out: Folder that keeps it; by default where `find_engine` looks.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Where another process builds by the same recipe into the same folder, it is waited for, and its report is given.

    Raises:
        GateFailed: No engine is good enough. Nothing was replaced; `error.report` has the figures.
        UsageError, ModelFileError, MissingDependency: See the stages.
    """
    started, since = time.perf_counter(), time.time()
    check_limits(recipe)
    store = EngineStore(out or engines_folder())
    on_progress(0.0, "read the model")
    candidates = plan(recipe)
    model, prepared = open_prepared(recipe)
    calibration = calibrate(recipe, model, prepared, lambda share, note: on_progress(0.05 + 0.3 * share, note))
    frames = gate_frames(recipe, require_card(prepared), calibration, shipped=model.shipped)
    quantizations, calibrators = first_quantizations(
        recipe, prepared, candidates, calibration, frames, lambda share, note: on_progress(0.35 + 0.1 * share, note)
    )

    def wait() -> None:
        on_progress(0.45, f"wait for another build in {store.folder}")

    with store.staging(on_wait=wait) as folder, ExitStack() as stack:
        if (done := _last_build(store.folder)) is not None and done.recipe == recipe.sha256() and done.ended > since:
            return done.report
        built, refused = _build_all(candidates, prepared, quantizations, recipe, folder, on_progress)
        court = Court(
            prepared, calibration, frames, recipe, folder, lambda share, note: on_progress(0.5 + 0.5 * share, note)
        )
        outcome = court.try_all(built, stack)
        trials = outcome.trials
        pick = pick_best(trials, recipe)
        leads = _may_lead(store, pick)
        report = _with_what_was_tried(
            summarize(pick, trials, refused, recipe, store.folder),
            calibrators,
            outcome,
            before=(*calibration.warnings, *frames.warnings),
            chosen_on_the_gate=bool(calibrators) and calibration.search is None,
            kept_aside=not leads and pick.verdict != "fail",
            seconds=time.perf_counter() - started,
        )
        if pick.verdict == "fail":
            raise refusal(report, pick.reason)
        if not leads and store.current() == store.folder / pick.built.engine.path.name:
            raise not_instead_of(report)
        _write_measurements(pick, trials, report, recipe)
        stack.close()
        engine = pick.built.engine.path
        write_bytes(folder / LAST_BUILD, msgspec.json.encode(_Build(recipe.sha256(), time.time(), report)))
        made = [*files_of(engine), folder / LAST_BUILD]
        store.keep({path.name: path for path in made}, engine.name if leads else None)
    return report


def _with_what_was_tried(
    report: BuildReport,
    calibrators: list[CalibratorRow],
    outcome: Outcome,
    *,
    before: tuple[str, ...],
    chosen_on_the_gate: bool,
    kept_aside: bool,
    seconds: float,
) -> BuildReport:
    """The report with calibrators, repair and all warnings; `before` are those of calibration and frames."""
    return msgspec.structs.replace(
        report,
        calibrators=(*calibrators, *outcome.calibrators),
        repair=outcome.steps,
        attempts=max(1, sum(step.gate is not None for step in outcome.steps)),
        warnings=(
            *before,
            *((CHOSEN_ON_THE_GATE,) if chosen_on_the_gate else ()),
            *outcome.warnings,
            *report.warnings,
            *((_NOT_CURRENT,) if kept_aside else ()),
        ),
        seconds=seconds,
    )


class _Build(msgspec.Struct, frozen=True):
    """What the last build of a store was asked for, when it ended (seconds since 1970), and what it found."""

    recipe: str
    ended: float
    report: BuildReport


def _last_build(folder: Path) -> _Build | None:
    """The last build of a store, by which a process that waited for it knows that it need not build the same."""
    try:
        return msgspec.json.decode((folder / LAST_BUILD).read_bytes(), type=_Build)
    except (OSError, msgspec.MsgspecError):
        return None


LAST_BUILD = ".last-build"
CHOSEN_ON_THE_GATE = (
    "The calibrator was chosen on the frames that the gate judges on; with --calib SOURCE it is chosen on others."
)
_NOT_CURRENT = "A measured engine stays the current one; name this one with --engine to run it."


def _build_all(
    candidates: list[Candidate],
    prepared: ir.Model,
    quantizations: dict[Dialect, Quantization],
    recipe: BuildRecipe,
    folder: Path,
    on_progress: OnProgress,
) -> tuple[list[Built], list[CandidateReport]]:
    """Build every candidate; one that its library refuses becomes a row that says why.

    Raises:
        ModelFileError: The baseline or every candidate is refused.
    """
    built, refused = [], []
    for index, candidate in enumerate(candidates):
        if candidate.spare_depthwise and not depthwise_convs(prepared):
            continue

        def tell(share: float, phase: str = "", index: int = index, name: str = candidate.name) -> None:
            on_progress(0.45 + 0.05 * (index + share) / len(candidates), f"build {name}{phase and f': {phase}'}")

        tell(0.0)
        try:
            quantization = quantizations.get(candidate.dialect)
            built.append(build_candidate(candidate, prepared, quantization, recipe, folder, tell))
        except (ModelFileError, EngineMismatch) as error:
            if candidate.is_baseline:
                raise
            refused.append(refused_row(candidate, error.message))
    if not any(one.candidate.role == "candidate" for one in built):
        reasons = "; ".join(f"{row.backend} {row.dialect}: {row.reason.rstrip('.')}" for row in refused)
        raise ModelFileError(
            f"No engine could be built: {reasons}.", hint="edgeseg doctor tells what works on this machine."
        )
    return built, refused


def _write_measurements(pick: Trial, trials: list[Trial], report: BuildReport, recipe: BuildRecipe) -> None:
    """Put what was measured, on what, and the engine's answer to the golden frame, beside it and onto its card."""
    engine = pick.built.engine
    frame = golden_frame(engine.card)
    if pick.session is not None:
        answer, made_by = pick.session.infer(frame)[0].astype(np.uint8), "engine"
    else:
        answer, made_by = _float_answer(trials), "float"
    measured = {
        **engine.card.measured,
        "gate": msgspec.to_builtins(report.gate),
        "speed": msgspec.to_builtins(report.speed),
        "verdict": report.verdict,
        "attempts": report.attempts,
        "device": report.device,
        "data": recipe.data,
        "golden": write_golden(engine.path, frame[0], answer),
        "golden_by": made_by,
    }
    card = msgspec.structs.replace(engine.card, measured=measured)
    write_card(engine.path, sign(card) if pick.built.candidate.backend.native else card)


def _float_answer(trials: list[Trial]) -> npt.NDArray[np.uint8]:
    """Float's class map of the golden frame, void where it is not confident: for engines that can't answer here."""
    baseline = next(one for one in trials if one.built.candidate.is_baseline)
    assert baseline.session is not None, "the baseline runs everywhere"
    scene = golden_scene(baseline.built.engine.card)
    with baseline.built.candidate.backend.load(baseline.built.engine, "logits") as logits:
        (sure,) = confident_pixels(logits, [scene])
    (answer,) = class_maps(baseline.session, [scene])
    return np.where(sure, answer, VOID).astype(np.uint8)


def _may_lead(store: EngineStore, pick: Trial) -> bool:
    """Whether the pick becomes the current engine: an unmeasured one only where nothing measured stands."""
    if pick.verdict == "pass":
        return True
    try:
        current = store.current()
        return current is None or Engine.open(current).card.measured.get("verdict") != "pass"
    except ModelFileError:
        return True
