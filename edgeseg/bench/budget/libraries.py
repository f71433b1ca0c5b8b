"""Which library runs each precision here: the fastest on the cheapest network, which then runs all others."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.backends import Backend
from edgeseg.bench.budget.race import race, scout, times_ms
from edgeseg.bench.budget.report import Budget, Design, LibraryRow
from edgeseg.bench.budget.space import Network
from edgeseg.bench.budget.workshop import Workshop
from edgeseg.bench.lane import Lane
from edgeseg.build.calibration import Calibration
from edgeseg.build.candidates import Candidate
from edgeseg.build.choice import MARGIN
from edgeseg.card import Precision
from edgeseg.data.scene import Scene
from edgeseg.device.cuda import CudaError
from edgeseg.errors import EdgesegError, EngineMismatch, ModelFileError, UsageError

__all__ = ["CAMERA_HW", "Libraries", "choose_libraries"]

OnProgress = Callable[[float, str], None]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "int8")
#: Frames that libraries are timed on, and height and width of what a camera gives.
ROUNDS, CAMERA_HW = 50, (480, 640)


@dataclass(frozen=True)
class Libraries:
    """What runs what.

    Attributes:
        by_precision: The fastest.
        floats: Runs a reference in float32.
        calibrations: Of all networks; empty where INT8 is not searched.
        rows: What was timed.
        warnings: Precisions that are left out, a sentence each.
    """

    by_precision: dict[Precision, Candidate]
    floats: Candidate
    calibrations: tuple[Calibration, ...]
    rows: tuple[LibraryRow, ...]
    warnings: tuple[str, ...]


def choose_libraries(
    workshop: Workshop, networks: Sequence[Network], backends: list[Backend], budget: Budget, on_progress: OnProgress
) -> Libraries:
    """Time the libraries that could run each precision in turns.

    Raises:
        UsageError: None runs the precision that is asked for, or INT8 is and there are no ranges.
        ModelFileError: All refuse it.
    """
    recipe = workshop.recipe
    fixed = "precision" in budget.fixed
    wanted = (recipe.precision,) if fixed else PRECISIONS
    calibrations, warnings = _calibrations(workshop, networks, fixed=fixed) if "int8" in wanted else ((), ())
    if warnings:
        wanted = tuple(precision for precision in wanted if precision != "int8")
    cheapest = min(networks, key=lambda one: one.macs)
    found: dict[Precision, Candidate] = {}
    rows: list[LibraryRow] = []
    for number, precision in enumerate(wanted):
        candidates = workshop.candidates(cheapest, precision, backends, needed=fixed)
        if not candidates:
            continue
        on_progress(number / len(wanted), f"which library runs {precision} the fastest")
        try:
            timed = _time(workshop, cheapest, candidates)
        except EdgesegError as error:
            if fixed:
                raise
            warnings = (*warnings, f"{precision} is left out: {error.message}")
            continue
        found[precision] = fastest = _fastest(timed)
        rows += [_row(one, ms, picked=one is fastest) for one, ms in timed.items()]
    if not found:
        raise ModelFileError(
            f"No library here runs {cheapest.model}: {' '.join(warnings)}", hint="edgeseg doctor tells what works."
        )
    return Libraries(found, workshop.baseline(cheapest, backends), calibrations, tuple(rows), warnings)


def _calibrations(
    workshop: Workshop, networks: Sequence[Network], *, fixed: bool
) -> tuple[tuple[Calibration, ...], tuple[str, ...]]:
    """The ranges of all networks; none, and why, where one has none and INT8 need not be."""
    try:
        return tuple(workshop.calibration(network.model) for network in networks), ()
    except (UsageError, ModelFileError) as error:
        if fixed:
            raise
        return (), (f"INT8 is left out: {error.message} {error.hint}",)


def _time(workshop: Workshop, network: Network, candidates: Sequence[Candidate]) -> dict[Candidate, float]:
    """Medians in turns, milliseconds; what can't be built or run is left out, and one alone is not timed.

    Raises:
        EdgesegError: None can.
    """
    scene = Scene(CAMERA_HW, seed=0)
    frames: list[npt.NDArray[np.uint8]] = [scene.render(number) for number in range(4)]
    lanes: dict[Candidate, Lane] = {}
    failure: EdgesegError | None = None
    with ExitStack() as stack:
        for one in candidates:
            try:
                built = workshop.build(network.model, network.own_hw, workshop.recipe.upsample, one)
                stack.callback(shutil.rmtree, built.engine.path.parent, ignore_errors=True)
                lane = Lane(one.name, built.engine, stack.enter_context(one.backend.load(built.engine)))
                scout(lane, frames)
            except (UsageError, ModelFileError, EngineMismatch, CudaError) as error:
                failure = error
                continue
            lanes[one] = lane
        if lanes:
            race(list(lanes.values()), frames, rounds=ROUNDS)
    ran = {one: float(np.median(times_ms(lane))) for one, lane in lanes.items() if not lane.failed}
    if not ran:
        raise failure or ModelFileError(next(lane.failed for lane in lanes.values()))
    return ran


def _fastest(timed: Mapping[Candidate, float]) -> Candidate:
    """A later one, which is less likely to be right, must be clearly faster."""
    (pick, least), *others = timed.items()
    for one, ms in others:
        if ms * MARGIN < least:
            pick, least = one, ms
    return pick


def _design(network: Network, candidate: Candidate, workshop: Workshop) -> Design:
    return Design(
        model=network.model,
        size_hw=network.own_hw,
        upsample=workshop.recipe.upsample,
        precision=candidate.precision,
        dialect=candidate.dialect,
        backend=candidate.backend.name,
        macs=network.macs,
    )


def _row(candidate: Candidate, ms: float, *, picked: bool) -> LibraryRow:
    return LibraryRow(
        precision=candidate.precision,
        backend=candidate.backend.name,
        dialect=candidate.dialect,
        p50_ms=ms,
        picked=picked,
    )
