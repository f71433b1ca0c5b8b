"""A matrix from its plan to its record; what is done already is not done again."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt

from edgeseg.backends import open_backend
from edgeseg.bench.budget.workshop import Workshop
from edgeseg.bench.collection import read_with_samples
from edgeseg.bench.matrix.merge import Rounds, merge
from edgeseg.bench.matrix.plan import Cell, Plan, keep_plan
from edgeseg.bench.record import Record, Settings, read_record
from edgeseg.bench.runner import options_of
from edgeseg.build.candidates import Candidate
from edgeseg.build.identity import sign
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import card_path, write_card
from edgeseg.errors import EdgesegError, MissingDependency, UsageError
from edgeseg.files import write_bytes

__all__ = ["run_matrix"]

#: Seconds that a build, and opening an engine, are likely to take, for the time left to be told.
BUILD_S, OPEN_S = 15.0, 6.0


def run_matrix(
    plan: Plan, folder: Path, on_progress: Callable[[float, str], None] = lambda *_: None
) -> tuple[Record, dict[str, npt.NDArray[Any]]]:
    """Build each engine of a plan, measure all in rounds, each time in a process of its own, and put it together.

    What lies in the folder of an earlier run of the same plan is taken as it is. Ctrl-C ends it; the record is of the
    rounds that are done, and the same call goes on from there.

    Args:
        plan: Which engines, and how.
        folder: Gets `matrix.json`, `engines/` and `rounds/`.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        UsageError: Another plan was begun in the folder, or no engine can be measured.
        KeyboardInterrupt: Before any round was done.
    """
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
        unbuilt = sum(self._engine(cell) is None for cell in plan.cells)
        left = sum(not self._round(cell, number).is_file() for cell in plan.cells for number in self._numbers())
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
        for number in self._numbers():
            for cell in self._plan.cells:
                if self._round(cell, number).is_file():
                    continue
                self._tell(f"round {number} of {self._plan.rounds}: {cell.name}")
                if cell.name not in self.left_out:
                    self._measure(cell, number)
                self._done_s += self._measure_s

    def _numbers(self) -> range:
        """Of the rounds."""
        return range(1, self._plan.rounds + 1)

    def rounds(self) -> dict[str, Rounds]:
        """What is done, by the engine's name."""
        found = {
            cell.name: [self._round(cell, number) for number in self._numbers() if self._round(cell, number).is_file()]
            for cell in self._plan.cells
        }
        return {name: [read_with_samples(path) for path in paths] for name, paths in found.items() if paths}

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

    def _measure(self, cell: Cell, number: int) -> None:
        out = self._round(cell, number).parent
        words = ["bench", str(self._engine(cell)), "-o", str(out), "--no-roofline"]
        threads = {"EDGESEG_THREADS": str(cell.threads)} if cell.threads is not None else {}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "edgeseg", *words, *options_of(self._settings)],
                capture_output=True,
                text=True,
                env={**os.environ, **threads},
            )
        except KeyboardInterrupt:
            # The process has had the signal too, and kept what it had.
            if self._round(cell, number).is_file() and not read_record(self._round(cell, number)).complete:
                self._round(cell, number).unlink()
            raise
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            errors = [line.partition(": ")[2] for line in lines if line.startswith("error: ")]
            self.left_out[cell.name] = (errors or lines or [f"it ended with code {done.returncode}."])[-1]
            self._round(cell, number).unlink(missing_ok=True)


def _of_one_round(plan: Plan) -> Settings:
    """The settings, with their time and frames divided among the rounds."""
    settings = plan.settings
    return msgspec.structs.replace(
        settings,
        duration_s=settings.duration_s / plan.rounds,
        iterations=math.ceil(settings.iterations / plan.rounds),
    )
