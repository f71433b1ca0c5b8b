"""The composer: recipe to gated engine."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from edgeseg.backends import Backend, Engine
from edgeseg.build.bundle import is_bundle
from edgeseg.build.candidates import Built, Candidate, build_candidate, find_backends, plan
from edgeseg.build.choice import pick_best
from edgeseg.build.from_bundle import stock_of_bundle
from edgeseg.build.gate import check_limits, golden_frame
from edgeseg.build.golden import write_golden
from edgeseg.build.identity import sign
from edgeseg.build.judge import Judge, ask_float
from edgeseg.build.judging import Court, Outcome
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import BuildReport, CandidateReport
from edgeseg.build.stock import OnProgress, Stock
from edgeseg.build.store import EngineStore, files_of
from edgeseg.build.summary import not_instead_of, reasons_of, refusal, refused_row, summarize
from edgeseg.build.trial import Trial
from edgeseg.card import write_card
from edgeseg.errors import EngineMismatch, ModelFileError
from edgeseg.files import engines_folder, sha256_bytes, write_bytes

__all__ = ["build_engine"]


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
    store = EngineStore(out or engines_folder())
    backends = find_backends(recipe)
    stock = _take_stock(recipe, backends, lambda share, note: on_progress(0.45 * share, note))
    candidates = plan(stock.recipe, backends, stock.graphs)

    def wait() -> None:
        on_progress(0.45, f"wait for another build in {store.folder}")

    with store.staging(on_wait=wait) as folder, ExitStack() as stack:
        done = _last_build(store.folder)
        if done is not None and done.of == _of(stock) and done.ended > since:
            return done.report
        built, refused = _build_all(candidates, stock, folder, on_progress)
        on_progress(0.5, "float answers to the gate's frames")
        judge = _open_judge(stock, next(one for one in built if one.candidate.is_baseline))
        court = Court(judge, stock, folder, lambda share, note: on_progress(0.5 + 0.5 * share, note))
        outcome = court.try_all(built, stack)
        pick = pick_best(outcome.trials, stock.recipe)
        leads = _may_lead(store, pick)
        report = _with_what_was_tried(
            summarize(pick, outcome.trials, [*refused, *court.refused], stock.recipe, store.folder),
            stock,
            outcome,
            kept_aside=not leads and pick.verdict != "fail",
            seconds=time.perf_counter() - started,
        )
        _refuse(report, pick, store, leads=leads, packed=is_bundle(recipe.model))
        _write_measurements(pick, judge, report, stock.recipe)
        stack.close()
        engine = pick.built.engine.path
        write_bytes(folder / LAST_BUILD, msgspec.json.encode(_Build(_of(stock), time.time(), report)))
        made = [*files_of(engine), folder / LAST_BUILD]
        store.keep({path.name: path for path in made}, engine.name if leads else None)
    return report


def _refuse(report: BuildReport, pick: Trial, store: EngineStore, *, leads: bool, packed: bool) -> None:
    """Raises GateFailed for a pick that is not good enough, or that would replace a measured one unmeasured."""
    if pick.verdict == "fail":
        raise refusal(report, pick.reason, packed=packed)
    if not leads and store.current() == store.folder / pick.built.engine.path.name:
        raise not_instead_of(report)


def _take_stock(recipe: BuildRecipe, backends: list[Backend], on_progress: OnProgress) -> Stock:
    """Graphs and frames: out of a bundle, or made of a model, which needs the packages that make graphs."""
    if is_bundle(recipe.model):
        on_progress(0.0, "read the bundle")
        return stock_of_bundle(recipe)
    from edgeseg.build.from_model import stock_of_model

    check_limits(recipe)
    dialects = dict.fromkeys(dialect for backend in backends for dialect in backend.dialects)
    return stock_of_model(recipe, dialects, on_progress)


def _open_judge(stock: Stock, baseline: Built) -> Judge:
    answers = stock.answers or ask_float(baseline.candidate.backend, baseline.engine, stock.frames)
    return Judge(stock.frames, answers, stock.card, counting_share=stock.recipe.min_class_share / 100)


def _with_what_was_tried(
    report: BuildReport, stock: Stock, outcome: Outcome, *, kept_aside: bool, seconds: float
) -> BuildReport:
    """The report with calibrators, repair and all warnings."""
    return msgspec.structs.replace(
        report,
        calibrators=(*stock.calibrators, *outcome.calibrators),
        repair=outcome.steps,
        attempts=max(1, sum(step.gate is not None for step in outcome.steps)),
        warnings=(
            *stock.warnings,
            *stock.frames.warnings,
            *((CHOSEN_ON_THE_GATE,) if stock.calibrators and not stock.search_apart else ()),
            *outcome.warnings,
            *report.warnings,
            *((_NOT_CURRENT,) if kept_aside else ()),
        ),
        seconds=seconds,
    )


class _Build(msgspec.Struct, frozen=True):
    """What the last build of a store was of, when it ended (seconds since 1970), and what it found."""

    of: str
    ended: float
    report: BuildReport


def _of(stock: Stock) -> str:
    """Hash of what is asked for, and of the very graph and ranges that it is asked of."""
    ranges = [how.ranges.sha256() for how in stock.quantizations.values()]
    return sha256_bytes(msgspec.json.encode((stock.recipe, stock.card, sorted(ranges))))


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
    stock: Stock,
    folder: Path,
    on_progress: OnProgress,
) -> tuple[list[Built], list[CandidateReport]]:
    """Build every candidate; one that its library refuses becomes a row that says why.

    Raises:
        ModelFileError: The baseline or every candidate is refused.
    """
    built, refused = [], []
    for index, candidate in enumerate(candidates):

        def tell(share: float, phase: str = "", index: int = index, name: str = candidate.name) -> None:
            on_progress(0.45 + 0.05 * (index + share) / len(candidates), f"build {name}{phase and f': {phase}'}")

        tell(0.0)
        quantization = stock.quantizations.get(candidate.dialect)
        ways = (candidate, *(one for one in candidate.otherwise() if stock.graphs.has(one.form(stock.recipe.tensorrt))))
        for one in ways:
            try:
                built.append(build_candidate(one, stock.graphs, quantization, stock.recipe, folder, tell))
                break
            except (ModelFileError, EngineMismatch) as error:
                if candidate.is_baseline and one is ways[-1]:
                    raise
                refused.append(refused_row(one, error.message))
    if not _worth_trying(built, candidates):
        raise ModelFileError(
            f"No engine could be built: {reasons_of(refused)}.", hint="edgeseg doctor tells what works on this machine."
        )
    return built, refused


def _worth_trying(built: list[Built], candidates: list[Candidate]) -> bool:
    """Whether there is a candidate, or at least a float engine of a library that was asked for."""
    asked = {one.backend.name for one in candidates if one.role == "candidate"}
    return any(one.candidate.role == "candidate" or one.candidate.backend.name in asked for one in built)


def _write_measurements(pick: Trial, judge: Judge, report: BuildReport, recipe: BuildRecipe) -> None:
    """Put what was measured, on what, and the engine's answer to the golden frame, beside it and onto its card."""
    engine = pick.built.engine
    frame = golden_frame(engine.card)
    if pick.session is not None:
        answer, made_by = pick.session.infer(frame)[0].astype(np.uint8), "engine"
    else:
        answer, made_by = judge.answers.golden, "float"
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


def _may_lead(store: EngineStore, pick: Trial) -> bool:
    """Whether the pick becomes the current engine: an unmeasured one only where nothing measured stands."""
    if pick.verdict == "pass":
        return True
    try:
        current = store.current()
        return current is None or Engine.open(current).card.measured.get("verdict") != "pass"
    except ModelFileError:
        return True
