"""From a budget to the engine: a measured front, and the most accurate point of it that holds, built with its gate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgeseg.bench.budget.chart import front_svg
from edgeseg.bench.budget.choice import allowed_ms, explain, most_accurate
from edgeseg.bench.budget.contest import Contest, open_contest
from edgeseg.bench.budget.race import CONFIRMED, race, times_ms
from edgeseg.bench.budget.refusal import none_holds, too_inaccurate, too_slow
from edgeseg.bench.budget.report import Attempt, Budget, BudgetBuild, Front, FrontPoint
from edgeseg.bench.budget.workshop import Workshop
from edgeseg.bench.lane import Lane
from edgeseg.bench.statistics import percentile
from edgeseg.build.bundle import is_bundle
from edgeseg.build.composer import build_engine
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import BuildReport
from edgeseg.build.store import EngineStore, files_of, find_engine, load_session
from edgeseg.errors import GateFailed, UsageError
from edgeseg.files import engines_folder, write_bytes

__all__ = ["FRONT", "PICTURE", "build_within"]

OnProgress = Callable[[float, str], None]
FRONT, PICTURE = "front.json", "front.svg"
#: Points that are built with their gate at most.
ATTEMPTS = 4
#: Share of the whole that measuring the front is taken for.
MEASURED = 0.75
#: Times that an engine is timed by itself at most until it keeps the budget, and seconds between them: what disturbed
#: it once may have ended by then.
CONFIRMATIONS, PAUSE_S = 3, 3.0


def build_within(
    budget: Budget, recipe: BuildRecipe, out: Path | None = None, on_progress: OnProgress = lambda *_: None
) -> BudgetBuild:
    """Build the most accurate engine whose 90th percentile from frame to class map keeps the budget on this machine.

    Engines of all designs are built without a gate and timed in turns; those far beyond the budget are dropped after
    a few frames, and what computes more is not built. The most accurate is then built as `build_engine` does, for the
    library that it was timed in, and timed again; where that fails, the next one is.

    Args:
        budget: What to keep, and what is fixed.
        recipe: What holds for all builds, and the values of what is fixed.
        out: Folder that keeps the engine; it gets `front.json` and `front.svg` too, each time that the front has grown.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        GateFailed: No engine keeps the budget, or none that does is good enough; `error.report` has the front.
        UsageError, ModelFileError, MissingDependency: See the stages.
    """
    _check(budget, recipe)
    store = EngineStore(out or engines_folder())
    ledger = _Ledger(store.folder, time.perf_counter())
    with store.staging(on_wait=lambda: on_progress(0.0, f"wait for another build in {store.folder}")) as folder:
        workshop = Workshop(recipe, folder)
        contest = open_contest(budget, workshop, lambda share, note: on_progress(MEASURED * share, note), ledger.write)
        try:
            ledger.write(contest.measure())
            return _Finals(contest, store, folder, ledger, on_progress, out).run()
        except GateFailed as error:
            error.report = {"front": msgspec.to_builtins(ledger.close(error.message))}
            raise


def _check(budget: Budget, recipe: BuildRecipe) -> None:
    if is_bundle(recipe.model):
        raise UsageError(
            f"{recipe.model} is a bundle, which has one network at one size; there is nothing to search.",
            hint=f"Build it, and time it: edgeseg build {recipe.model}, then edgeseg bench",
        )
    if budget.min_miou is not None and not 0 < budget.min_miou <= 1:
        raise UsageError(f"--min-miou is {budget.min_miou:g}; a share from 0 to 1 is needed.", hint="As in 0.6")
    if recipe.data and recipe.frames:
        raise UsageError("--data and --frames were given; a gate judges on one of them.", hint="Leave one out.")


@dataclass
class _Ledger:
    """Keeps the last front on disk, whole at any time.

    Attributes:
        folder: Gets the files.
        started: By `time.perf_counter()`.
        last: What was written.
    """

    folder: Path
    started: float
    last: Front | None = None

    def close(self, why: str) -> Front | None:
        """The last front, with why nothing was picked."""
        if self.last is not None:
            self.write(msgspec.structs.replace(self.last, why=why))
        return self.last

    def write(self, front: Front) -> None:
        """Replace what was written."""
        self.last = msgspec.structs.replace(front, seconds=time.perf_counter() - self.started)
        write_bytes(self.folder / FRONT, msgspec.json.format(msgspec.json.encode(self.last), indent=2) + b"\n")
        if self.last.points:
            write_bytes(self.folder / PICTURE, front_svg(self.last).encode())


@dataclass
class _Finals:
    """Builds the best points with their gate until one holds."""

    contest: Contest
    store: EngineStore
    folder: Path
    ledger: _Ledger
    on_progress: OnProgress
    out: Path | None

    def run(self) -> BudgetBuild:
        budget, front = self.contest.budget, self.contest.front(complete=True)
        recipe = self.contest.workshop.recipe
        if not any(one.keeps for one in front.points):
            raise too_slow(front, recipe, self.out)
        if most_accurate(front.points, budget.ms, budget.min_miou) is None:
            if _cheapest(front) is None:
                self.contest.find_beyond(budget.min_miou or 0.0)
                front = self.contest.front(complete=True)
                self.ledger.write(front)
            raise too_inaccurate(front, recipe, _cheapest(front), self.out)
        tried: list[Attempt] = []
        while len(tried) < ATTEMPTS:
            allowed = allowed_ms(front)
            pick = most_accurate(front.points, allowed, budget.min_miou, [one.design for one in tried])
            if pick is None:
                break
            attempt, report = self._attempt(pick, len(tried))
            tried.append(attempt)
            front = msgspec.structs.replace(front, attempts=tuple(tried))
            self.ledger.write(front)
            if report is not None and not attempt.failure:
                return self._keep(report, front, pick)
        raise none_holds(front, recipe, self.out)

    def _attempt(self, pick: FrontPoint, number: int) -> tuple[Attempt, BuildReport | None]:
        """Build a point with its gate, and time it once more.

        It is built for the library that it was measured in, and no float engine takes its place: all were measured.
        """
        start = MEASURED + (1 - MEASURED) * number / ATTEMPTS

        def tell(share: float, note: str) -> None:
            self.on_progress(start + (1 - start) * share, f"{pick.name}: {note}")

        recipe = msgspec.structs.replace(
            self.contest.yardstick.recipe,
            model=pick.model,
            imgsz=pick.size_hw,
            upsample=pick.upsample,
            precision=pick.precision,
            backend=pick.backend,
            even_if_slower=True,
        )
        out = self.folder / f"pick-{number}"
        try:
            report = build_engine(recipe, out, lambda share, note: tell(0.95 * share, note))
        except GateFailed as error:
            return Attempt(design=pick.name, failure=error.message.rstrip(".")), None
        tell(0.95, "time it again")
        p90 = self._p90_ms(report)
        built = f"{report.backend} {report.precision} {report.dialect}"
        return Attempt(design=pick.name, p90_ms=p90, built=built, failure=self._failure(report, p90)), report

    def _p90_ms(self, report: BuildReport) -> float | None:
        """Of an engine by itself; where that is beyond the budget, the best of a few runs; None where it failed."""
        engine = find_engine(report.engine)
        found: list[float] = []
        with load_session(engine) as session:
            for _ in range(CONFIRMATIONS):
                time.sleep(PAUSE_S if found else 0.0)
                lane = Lane(report.engine, engine, session)
                race([lane], self.contest.yardstick.timed, rounds=CONFIRMED)
                if lane.failed:
                    return None
                found += [p90] if (p90 := percentile(times_ms(lane), 90)) is not None else []
                if found and found[-1] <= self.contest.budget.ms:
                    break
        return min(found, default=None)

    def _failure(self, report: BuildReport, p90_ms: float | None) -> str:
        budget = self.contest.budget
        if report.verdict != "pass":
            return "; ".join((f"its gate says {report.verdict}", *report.warnings)).rstrip(".")
        if p90_ms is None or p90_ms > budget.ms:
            took = "failed" if p90_ms is None else f"took {p90_ms:.1f} ms"
            return f"it {took} when it was timed again"
        if budget.min_miou is not None and report.gate.miou is not None and report.gate.miou < budget.min_miou:
            return f"it has mIoU {100 * report.gate.miou:.2f} on all {report.gate.frames} frames of its gate"
        return ""

    def _keep(self, report: BuildReport, front: Front, pick: FrontPoint) -> BudgetBuild:
        made = Path(report.engine)
        self.store.keep({path.name: path for path in files_of(made)}, made.name)
        kept = str(self.store.folder / made.name)
        points = tuple(msgspec.structs.replace(one, picked=one.name == pick.name) for one in front.points)
        front = msgspec.structs.replace(front, points=points, why=explain(front, pick), engine=kept)
        self.ledger.write(front)
        assert self.ledger.last is not None, "it was written just now"
        report = msgspec.structs.replace(report, engine=kept, card=f"{kept}.json", seconds=self.ledger.last.seconds)
        return BudgetBuild(build=report, front=self.ledger.last)


def _cheapest(front: Front) -> FrontPoint | None:
    """The fastest point that is as accurate as is asked for."""
    least = front.budget.min_miou or 0.0
    return min((one for one in front.points if one.accuracy >= least), key=lambda one: one.p90_ms, default=None)
