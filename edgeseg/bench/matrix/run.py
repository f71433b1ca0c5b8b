"""A matrix from its plan to its record; what is done already is not done again."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt
from filelock import FileLock, Timeout

from edgeseg.backends import open_backend
from edgeseg.bench.budget.workshop import Workshop
from edgeseg.bench.collection import read_with_samples
from edgeseg.bench.kept import Samples
from edgeseg.bench.matrix.merge import Rounds, merge
from edgeseg.bench.matrix.plan import Cell, Plan, keep_plan
from edgeseg.bench.matrix.rounds import fault, measure_round
from edgeseg.bench.record import Record, Settings
from edgeseg.build.candidates import Candidate
from edgeseg.build.identity import sign
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import card_path, write_card
from edgeseg.device import describe_device
from edgeseg.errors import EdgesegError, MissingDependency, UsageError
from edgeseg.files import write_bytes

__all__ = ["run_matrix"]

logger = logging.getLogger(__name__)

#: Seconds that a build, and opening an engine, are likely to take, for the time left to be told.
BUILD_S, OPEN_S = 15.0, 6.0


def run_matrix(
    plan: Plan, folder: Path, on_progress: Callable[[float, str], None] = lambda *_: None
) -> tuple[Record, dict[str, npt.NDArray[Any]]]:
    """Build each engine of a plan, measure all in rounds, each time in a process of its own, and put it together.

    Rounds that an earlier run of the same plan left in the folder are not measured again, where they are whole and of
    this machine. Ctrl-C ends it; the record is of the rounds that are done, and the same call goes on from there.

    Args:
        plan: Which engines, and how.
        folder: Gets `matrix.json`, `engines/` and `rounds/`.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        UsageError: Another plan was begun in the folder, or another process measures there, or no engine can be
            measured.
        KeyboardInterrupt: Before any round was done.
    """
    with _alone(folder):
        keep_plan(plan, folder)
        work = _Work(plan, folder, on_progress)
        complete = True
        try:
            work.build()
            work.measure()
        except KeyboardInterrupt:
            complete = False
            if not work.rounds():
                raise
        rounds = work.rounds()
    if not rounds:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in work.left_out.items())
        raise UsageError(f"None of the {len(plan.cells)} engines can be measured here. {reasons}")
    never = {name: reason for name, reason in work.left_out.items() if name not in rounds}
    record, samples = merge(rounds, never, plan.command, complete=complete)
    engines = tuple(msgspec.structs.replace(one, failed=work.left_out.get(one.name, "")) for one in record.engines)
    return msgspec.structs.replace(record, settings=plan.settings, engines=engines), samples


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others from measuring in a folder; that is gone with this process, however it ends.

    Raises:
        UsageError: Another process measures there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"Another process measures a matrix in {folder}.", hint="Wait for it, or begin in another folder: -o DIR"
        ) from None
    try:
        yield
    finally:
        lock.release()


class _Work:
    """What is left to do of a plan.

    Attributes:
        left_out: Why engines can't be built or measured, by name.
    """

    def __init__(self, plan: Plan, folder: Path, on_progress: Callable[[float, str], None]) -> None:
        self._plan, self._folder, self._on_progress = plan, folder, on_progress
        self._settings = _of_one_round(plan)
        self._measure_s = self._settings.duration_s + self._settings.warm_up_s + OPEN_S
        self._done_s = 0.0
        self._engines = folder / "engines"
        self._engines.mkdir(exist_ok=True)
        recipe = BuildRecipe(upsample=self._settings.upsample, calib=self._settings.frames)
        self._workshop = Workshop(recipe, self._engines)
        self._device = describe_device()
        self._done = {place for place in self._places() if self._is_done(*place)}
        unbuilt = sum(self._engine(cell) is None for cell in plan.cells)
        left = len(self._places()) - len(self._done)
        self._left_s = max(1.0, unbuilt * BUILD_S + left * self._measure_s)
        self.left_out: dict[str, str] = {}

    def build(self) -> None:
        """Each engine that is not there yet."""
        for cell in self._plan.cells:
            self._tell(f"build {cell.name}")
            if self._engine(cell) is None:
                try:
                    self._build(cell)
                except (UsageError, MissingDependency) as error:
                    self.left_out[cell.name] = error.message
                except EdgesegError as error:
                    self.left_out[cell.name] = f"{error.message} {error.hint}".strip()
                self._done_s += BUILD_S

    def measure(self) -> None:
        """Each engine once a round, so that what drifts on the machine hits all alike."""
        for cell, number in self._places():
            if (cell, number) in self._done:
                continue
            self._tell(f"round {number} of {self._plan.rounds}: {cell.name}")
            if cell.name not in self.left_out:
                self._measure(cell, number)
            self._done_s += self._measure_s

    def rounds(self) -> dict[str, Rounds]:
        """What is done, by the engine's name."""
        found: dict[str, list[tuple[Record, Samples]]] = {cell.name: [] for cell in self._plan.cells}
        for cell, number in self._places():
            if (cell, number) in self._done:
                found[cell.name].append(read_with_samples(self._round(cell, number)))
        return {name: of_one for name, of_one in found.items() if of_one}

    def _places(self) -> list[tuple[Cell, int]]:
        """Which engines are to be measured in which rounds, in the order of time."""
        return [(cell, number) for number in range(1, self._plan.rounds + 1) for cell in self._plan.cells]

    def _tell(self, what: str) -> None:
        self._on_progress(min(1.0, self._done_s / self._left_s), what)

    def _engine(self, cell: Cell) -> Path | None:
        """The engine, where it was built; its path is written down last."""
        told = self._engines / f"{cell.folder}.txt"
        path = self._engines / (told.read_text() if told.is_file() else "absent")
        return path if path.is_file() and card_path(path).is_file() else None

    def _build(self, cell: Cell) -> None:
        backend = open_backend(cell.backend)
        possible = (*(("int8",) if backend.dialects else ()), *backend.floats)
        if cell.precision not in possible:
            raise UsageError(f"{cell.backend} can't run {cell.precision} here; possible: {', '.join(possible)}.")
        # Of its forms of INT8 the one that the library is likely to run fastest.
        dialect = backend.dialects[0] if cell.precision == "int8" else "float"
        candidate = Candidate(backend, cell.precision, dialect, "candidate")
        if cell.precision == "int8":
            self._workshop.calibration(cell.model, lambda _, what: self._tell(f"{cell.name}: {what}"))
        engine = self._workshop.build(cell.model, cell.size_hw, self._settings.upsample, candidate).engine
        if backend.native:
            write_card(engine.path, sign(engine.card))
        path = str(engine.path.relative_to(self._engines))
        write_bytes(self._engines / f"{cell.folder}.txt", path.encode())

    def _round(self, cell: Cell, number: int) -> Path:
        return self._folder / "rounds" / cell.folder / str(number) / "bench.json"

    def _is_done(self, cell: Cell, number: int) -> bool:
        """Whether a round lies there from before, which is whole and of this machine."""
        path = self._round(cell, number)
        reason = fault(path, self._device) if path.is_file() else ""
        if reason:
            logger.warning("Round %d of %s is measured again. %s", number, cell.name, reason)
        return path.is_file() and not reason

    def _measure(self, cell: Cell, number: int) -> None:
        path, engine = self._round(cell, number), self._engine(cell)
        assert engine is not None, "what can't be built is left out"
        reason = ""
        try:
            reason = measure_round(engine, path.parent, self._settings, cell.threads)
        finally:  # After Ctrl-C too: the process may have been through with it.
            wrong = reason or fault(path, self._device)
            if not wrong:
                self._done.add((cell, number))
        if wrong:
            self.left_out[cell.name] = wrong


def _of_one_round(plan: Plan) -> Settings:
    """The settings, with their time and frames divided among the rounds."""
    settings = plan.settings
    return msgspec.structs.replace(
        settings,
        duration_s=settings.duration_s / plan.rounds,
        iterations=math.ceil(settings.iterations / plan.rounds),
    )
