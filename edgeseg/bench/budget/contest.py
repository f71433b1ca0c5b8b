"""All designs, the cheapest first: built, dropped where far too slow, timed in turns, and scored.

A few are open and take turns at once. One more, the anchor, takes its turns in all of these races; by what it took in
each of them times are scaled, so that a machine whose speed drifts does not order engines timed minutes apart.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import msgspec

from edgeseg import __version__
from edgeseg.bench.budget.anchor import Anchor
from edgeseg.bench.budget.choice import ranked
from edgeseg.bench.budget.libraries import choose_libraries
from edgeseg.bench.budget.race import scout, times_ms
from edgeseg.bench.budget.report import Budget, Design, Front, FrontPoint, NotMeasured
from edgeseg.bench.budget.space import check_cards, designs, not_near, not_worth
from edgeseg.bench.budget.workshop import Workshop
from edgeseg.bench.budget.yardstick import Yardstick, check_sources, open_yardstick
from edgeseg.bench.figures import flags
from edgeseg.bench.lane import Lane
from edgeseg.bench.statistics import percentile
from edgeseg.build.candidates import Candidate, find_backends
from edgeseg.card import Precision
from edgeseg.catalog import zoo_models
from edgeseg.device.conditions import Watch
from edgeseg.device.cpu import inference_device
from edgeseg.device.cuda import CudaError
from edgeseg.device.state import throttle_counts
from edgeseg.errors import EngineMismatch, ModelFileError, UsageError
from edgeseg.evaluate import labels_fit

__all__ = ["Contest", "open_contest"]

OnProgress = Callable[[float, str], None]
#: Engines whose fastest of a few frames takes so many times the budget are dropped.
HOPELESS = 1.3
#: Engines that are open at once, and take turns.
TOGETHER = 6
#: Share of the whole until all is opened.
OPENED = 0.1
#: Designs beyond the budget that are tried for the accuracy that is asked for.
BEYOND = 6
REFUSED = (ModelFileError, EngineMismatch, UsageError, CudaError)


@dataclass
class Contest:
    """Measures designs.

    Attributes:
        budget: What is to be kept.
        workshop: Builds engines.
        libraries: What each precision is run by.
        yardstick: Scores them.
        head: The front before anything was measured.
        on_progress: Told the share done, 0 to 1, and what is under way.
        on_front: Given the front each time that it has grown.
        watch, throttled: The machine while it is measured, and its counters before.
    """

    budget: Budget
    workshop: Workshop
    libraries: dict[Precision, Candidate]
    yardstick: Yardstick
    head: Front
    on_progress: OnProgress
    on_front: Callable[[Front], object]
    watch: Watch = field(default_factory=Watch)
    throttled: Mapping[str, int] = field(default_factory=throttle_counts)
    _anchor: Anchor = field(default_factory=Anchor)
    #: What was timed, as it was, and in which race.
    _timed: list[tuple[FrontPoint, int]] = field(default_factory=list)
    _left: list[NotMeasured] = field(default_factory=list)

    def measure(self) -> Front:
        """The whole front, with one point at least, be it far beyond the budget.

        Raises:
            ModelFileError: No engine could be built and timed.
        """
        usual = self.workshop.recipe.upsample
        todo = designs(self.yardstick.networks, self.libraries, self.budget, self.workshop.recipe)
        first = [one for one in todo if one.upsample == usual]
        with self.watch, self._anchored(todo):
            self._measure_each(first, 0, len(todo))
            self._measure_each([one for one in todo if one.upsample != usual], len(first), len(todo))
            if not self._timed:
                self._measure_fastest()
        return self.front(complete=True)

    def front(self, *, complete: bool = False) -> Front:
        """What was measured so far."""
        doubtful = flags(self.watch.moments, self.throttled, throttle_counts())
        return msgspec.structs.replace(
            self.head,
            points=ranked(self._points, self.budget.ms),
            anchor=self._anchor.name,
            not_measured=tuple(self._left),
            warnings=(*self.head.warnings, *self._anchor.warnings(), *doubtful),
            complete=complete,
        )

    def find_beyond(self, least: float) -> None:
        """Measure a few designs far beyond the budget, the cheapest first, until one is so accurate."""
        plain = [one for one in self._left if one.upsample == self.workshop.recipe.upsample]
        known = [one for one in plain if (self.yardstick.shipped(one) or 1.0) >= least]
        with self._anchored(filter(None, [self._anchor.design])):
            for number, one in enumerate(sorted(known, key=lambda one: (one.macs, one.precision != "int8"))[:BEYOND]):
                self.on_progress(1.0, f"look beyond the budget, {number + 1}: {one.name}")
                found = self._measure_alone(one)
                if found is not None and found.accuracy >= least:
                    return

    @property
    def _points(self) -> list[FrontPoint]:
        """What was timed, as if the machine had always been as fast as it usually was."""
        return [_as_usual(point, self._anchor.slowness(race)) for point, race in self._timed]

    @contextmanager
    def _anchored(self, todo: Iterable[Design]) -> Iterator[None]:
        """Inside, the first of these designs that can be run takes its turns in each race."""
        with ExitStack() as stack:
            for design in todo:
                with suppress(*REFUSED):
                    self._anchor.open(design, stack.enter_context(self._opened(design)), self.yardstick.timed)
                    stack.callback(self._anchor.close)
                    break
            yield

    def _measure_each(self, todo: Sequence[Design], before: int, of: int) -> None:
        """Measure designs, a few at a time; `before` were seen already, `of` all."""
        group: dict[Design, Lane] = {}
        with ExitStack() as stack:
            for number, design in enumerate(todo, before):
                share = OPENED + (1 - OPENED) * number / of
                lane = self._admit(design, stack, share, f"{number + 1} of {of}")
                if lane is not None:
                    group[design] = lane
                if len(group) == TOGETHER:
                    self._measure(group, share)
                    stack.close()
                    group = {}
            if group:
                self._measure(group, OPENED + (1 - OPENED) * (before + len(todo)) / of)

    def _admit(self, design: Design, stack: ExitStack, share: float, which: str) -> Lane | None:
        """Build and open an engine; None, and a row that says why, where it need not or can't be measured."""
        if reason := not_worth(design, self._left) or not_near(design, self._points):
            self._leave(design, reason)
            return None
        self.on_progress(share, f"build {design.name}, {which}")
        try:
            lane = stack.enter_context(self._opened(design))
            least_ms = min(scout(lane, self.yardstick.timed))
        except REFUSED as error:
            self._leave(design, error.message)
            return None
        if least_ms > HOPELESS * self.budget.ms:  # Or is the machine slower just now?
            least_ms /= self._anchor.slower_now(self.yardstick.timed)
        if least_ms > HOPELESS * self.budget.ms:
            self._leave(design, f"far beyond the budget: {least_ms:.1f} ms at best", least_ms)
            return None
        return lane

    def _leave(self, design: Design, reason: str, least_ms: float | None = None) -> None:
        self._left.append(NotMeasured(**msgspec.structs.asdict(_plain(design)), reason=reason, least_ms=least_ms))

    @contextmanager
    def _opened(self, design: Design) -> Iterator[Lane]:
        candidate = self.libraries[design.precision]
        built = self.workshop.build(design.model, design.size_hw, design.upsample, candidate)
        try:
            with candidate.backend.load(built.engine) as session:
                yield Lane(design.name, built.engine, session)
        finally:
            shutil.rmtree(built.engine.path.parent, ignore_errors=True)

    def _measure(self, group: Mapping[Design, Lane], share: float) -> None:
        """Time engines in turns, and score them."""
        note = "time one engine" if len(group) == 1 else f"time {len(group)} engines in turns"
        number = self._anchor.race(
            list(group.values()), self.yardstick.timed, on_round=lambda _: self.on_progress(share, note)
        )
        first = not self._timed
        matrices = []
        for design, lane in group.items():
            if lane.failed:
                self._leave(design, lane.failed)
                continue
            self.on_progress(share, f"score {design.name}")
            matrices.append(self.yardstick.score(lane.session))
            self._timed.append((self._point(design, lane, self.yardstick.accuracy(matrices[-1], design)), number))
        if first and matrices and self.yardstick.facts.kind == "labels":
            labels_fit(max(matrices, key=lambda one: one.miou()), self.yardstick.networks[0].card.classes)
        self.on_front(self.front())

    def _point(self, design: Design, lane: Lane, accuracy: float) -> FrontPoint:
        ms = times_ms(lane)
        p50, p90 = percentile(ms, 50), percentile(ms, 90)
        assert p50 is not None and p90 is not None, "every engine has as many frames as its percentiles need"
        return FrontPoint(
            **msgspec.structs.asdict(_plain(design)),
            samples=len(ms),
            p50_ms=p50,
            p90_ms=p90,
            accuracy=accuracy,
            shipped_miou=self.yardstick.shipped(design),
        )

    def _measure_fastest(self) -> None:
        """Where all were dropped: the one that was the fastest, so that it can be said what is possible."""
        for one in sorted((one for one in self._left if one.least_ms is not None), key=lambda one: one.least_ms or 0.0):
            if self._measure_alone(one) is not None:
                return
        reasons = dict.fromkeys(one.reason.rstrip(".") for one in self._left)
        raise ModelFileError(
            f"No engine could be built and timed: {'; '.join(reasons)}.",
            hint="edgeseg doctor tells what works on this machine.",
        )

    def _measure_alone(self, left: NotMeasured) -> FrontPoint | None:
        """Time and score one that was left out; None where it can't be."""
        design = _plain(left)
        before = len(self._timed)
        with ExitStack() as stack:
            try:
                lane = stack.enter_context(self._opened(design))
            except REFUSED:
                return None
            self._left.remove(left)
            self._measure({design: lane}, 1.0)
        return self._points[-1] if len(self._timed) > before else None


def _as_usual(point: FrontPoint, slowness: float) -> FrontPoint:
    """A point with the times of a machine that is as fast as usual."""
    return msgspec.structs.replace(
        point, p50_ms=point.p50_ms / slowness, p90_ms=point.p90_ms / slowness, slowness=slowness
    )


def _plain(design: Design) -> Design:
    """What was searched, without what was found out about it."""
    return Design(**{name: getattr(design, name) for name in Design.__struct_fields__})


def open_contest(
    budget: Budget, workshop: Workshop, on_progress: OnProgress, on_front: Callable[[Front], object]
) -> Contest:
    """A contest of all that a budget leaves open.

    Raises:
        UsageError: There is no such model, no library runs the precision, or frames are missing.
        ModelFileError, MissingDependency: See the stages.
    """
    recipe = workshop.recipe
    on_progress(0.0, "read the models")
    models = [recipe.model] if "model" in budget.fixed else list(zoo_models())
    networks = tuple(workshop.network(model) for model in models)
    check_cards(networks, budget, recipe)
    check_sources(recipe, networks[0].card)
    backends = find_backends(recipe)
    libraries = choose_libraries(
        workshop, networks, backends, budget, lambda share, note: on_progress(0.02 + 0.05 * share, note)
    )
    on_progress(0.07, "what accuracy is measured by")
    yardstick = open_yardstick(workshop, networks, libraries.floats, libraries.calibrations, budget)
    head = Front(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        device=inference_device(),
        versions={"edgeseg": __version__} | {one.name: one.version() for one in backends},
        budget=budget,
        budget_ms=budget.ms,
        frame_hw=(yardstick.timed[0].shape[0], yardstick.timed[0].shape[1]),
        accuracy=yardstick.facts,
        libraries=libraries.rows,
        warnings=(*libraries.warnings, *yardstick.warnings),
    )
    return Contest(budget, workshop, libraries.by_precision, yardstick, head, on_progress, on_front)
