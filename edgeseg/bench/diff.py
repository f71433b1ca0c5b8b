"""Whether an engine became slower: two measurements, and the noise between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.bench.collection import same_conditions
from edgeseg.bench.record import Record
from edgeseg.errors import UsageError

__all__ = ["Difference", "Measured", "differ"]

Floats = npt.NDArray[np.float64]
Verdict = Literal["slower", "faster", "no difference", "undecided"]
#: Seconds of a block, whose median latency is set against that of the reference kernel, or of the other engine.
BLOCK_S = 2.0
#: Blocks that each side needs.
BLOCKS = 5
CONFIDENCE, RESAMPLES = 0.99, 2000
#: Shares below which changes are noise: of engines in turns, and of two records, since no kernel tells all that a
#: machine does to an engine at another hour.
TURNS_BAND, RECORDS_BAND = 0.03, 0.1
#: Of two records, blocks in which others kept more cores busy are left out: they slow an engine down by another factor
#: than a kernel.
OTHERS = 0.2
#: Medians decide; where the 90th percentile changed by another factor, as a share, it is told.
TAIL = 0.25
BUSY = (
    "Other processes kept the machine busy for most of the time, so that nothing is decided; measure both in turns: "
    "edgeseg bench OLD NEW"
)
UNSURE = (
    "What changed can't be told from what a machine does to the same engine at another hour; measure both in turns: "
    "edgeseg bench OLD NEW"
)
UNSURE_IN_TURNS = (
    "The two can't be told apart in so short a time; measure them for longer: edgeseg bench OLD NEW --duration 2m"
)
OTHER_KERNEL = (
    "The reference kernel, or OpenCV that it comes from, is of different versions in the two, so that nothing is "
    "decided; measure both in turns: edgeseg bench OLD NEW"
)


@dataclass(frozen=True)
class Measured:
    """One engine of one record."""

    record: Record
    index: int
    samples: Mapping[str, npt.NDArray[Any]]

    @property
    def name(self) -> str:
        """As it was asked for."""
        return self.record.engines[self.index].name

    def latencies(self) -> tuple[Floats, Floats]:
        """Seconds, and milliseconds of each frame that began then."""
        begins = np.asarray(self.samples[f"{self.index}.begin_s"], np.float64)
        return begins, np.asarray(self.samples[f"{self.index}.latency_ms"], np.float64)

    def disturbed(self) -> frozenset[int]:
        """Blocks in which other processes kept the machine busy."""
        conditions = self.record.environment.conditions
        # The first look comes a second after the first frame and is of that second, the next of that behind it.
        begins = conditions.seconds
        ends = [*begins[1:], begins[-1] + (begins[-1] - begins[-2] if len(begins) > 1 else 1.0)] if begins else []
        looks = zip(begins, ends, conditions.others, strict=True)
        busy = [(begin, end) for begin, end, others in looks if others > OTHERS]
        return frozenset(
            block for begin, end in busy for block in range(int(begin // BLOCK_S), int(end // BLOCK_S) + 1)
        )

    def reference(self) -> tuple[Floats, Floats]:
        """The same of the reference kernel."""
        return np.asarray(self.samples["reference.begin_s"]), np.asarray(self.samples["reference.ms"])


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What changed from the old to the new.

    Attributes:
        ratio: Of the new median latency to the old one, the median over blocks, after what changed on the machine is
            taken out.
        interval: 99 % of it, by a bootstrap of blocks of two seconds.
        band: Changes below are noise by definition, as a share.
        how: What took the machine out.
        old_ms, new_ms: Medians as they were measured.
        notes: What makes the comparison doubtful, a sentence each.
    """

    old: str
    new: str
    verdict: Verdict
    ratio: float
    interval: tuple[float, float]
    band: float
    how: Literal["in turns", "by the reference kernel"]
    old_ms: float
    new_ms: float
    notes: tuple[str, ...]


def differ(old: Measured, new: Measured, *, band: float | None = None) -> Difference:
    """Compare two measurements.

    Engines that were measured in turns are set against each other block by block; of two records each engine is set
    against the reference kernel that ran between its frames, in the blocks in which no other process kept the machine
    busy; with too few of these, or another OpenCV, nothing is decided. There is a change where all of its interval lies
    beyond the band, and none where all of it lies within; else that is undecided.

    Args:
        old, new: The same scenario, on machines of one kind.
        band: A share, above 0; None is `TURNS_BAND` or `RECORDS_BAND`.

    Raises:
        UsageError: They can't be compared, or are too short.
    """
    _check(old, new)
    together = old.record is new.record
    band = band or (TURNS_BAND if together else RECORDS_BAND)
    doubts: tuple[str, ...] = ()
    if together:
        both = _together(old, new)
        interval = _interval_of_one(both)
        ratio = float(np.median(both))
    else:
        before, after, doubts = _by_reference(old, new)
        interval = _interval_of_two(before, after)
        ratio = float(np.median(after) / np.median(before))
    verdict = "undecided" if doubts else _verdict(interval, band)
    if verdict == "undecided" and not doubts:
        doubts = (UNSURE_IN_TURNS if together else UNSURE,)
    return Difference(
        old=old.name,
        new=new.name,
        verdict=verdict,
        ratio=ratio,
        interval=interval,
        band=band,
        how="in turns" if together else "by the reference kernel",
        old_ms=float(np.median(old.latencies()[1])),
        new_ms=float(np.median(new.latencies()[1])),
        notes=(*_tail(old, new), *_notes(old, new), *doubts),
    )


def _verdict(interval: tuple[float, float], band: float) -> Verdict:
    low, high = interval
    if low > 1 + band:
        return "slower"
    if high < 1 - band:
        return "faster"
    return "no difference" if low >= 1 - band and high <= 1 + band else "undecided"


def _check(old: Measured, new: Measured) -> None:
    for one in (old, new):
        if not len(one.samples.get(f"{one.index}.latency_ms", ())):
            raise UsageError(f"There are no samples of {one.name}: it failed before it had any.")
    first, second = old.record.environment.device, new.record.environment.device
    if (first.cpu, first.cores, first.board) != (second.cpu, second.cores, second.board):
        raise UsageError(
            f"The two were measured on different machines: {first.board or first.cpu} with {first.cores} cores, and "
            f"{second.board or second.cpu} with {second.cores}.",
            hint="Measure both on one: edgeseg bench OLD NEW",
        )
    if old.record.settings.scenario != new.record.settings.scenario:
        raise UsageError(
            f"One is of the scenario {old.record.settings.scenario}, the other of {new.record.settings.scenario}."
        )
    if differing := same_conditions([old.record, new.record]):
        raise UsageError(
            f"The two can't be compared. {' '.join(differing)}", hint="Measure both in turns: edgeseg bench OLD NEW"
        )
    threads = [one.record.engines[one.index].execution.get("threads") for one in (old, new)]
    if threads[0] != threads[1]:
        raise UsageError(f"One ran with {threads[0]} threads, the other with {threads[1]}.")


def _tail(old: Measured, new: Measured) -> tuple[str, ...]:
    """Where the slow frames changed otherwise than the median."""
    before, after = (np.percentile(one.latencies()[1], (50, 90)) for one in (old, new))
    other = (after[1] / before[1]) / (after[0] / before[0])
    if 1 / (1 + TAIL) < other < 1 + TAIL:
        return ()
    return (f"The slow frames changed otherwise than the median: p90 {before[1]:.2f} ms before, {after[1]:.2f} after.",)


def _notes(old: Measured, new: Measured) -> tuple[str, ...]:
    """What makes records doubtful, each sentence once."""
    if old.record is new.record:
        return tuple(_doubts(new.record))
    found = []
    before, after = (one.record.environment.reference_ms or 1.0 for one in (old, new))
    ratio = after / before
    if _kernel(old) == _kernel(new) and not 0.8 < ratio < 1.25:
        found.append(
            f"The machine itself was {max(ratio, 1 / ratio):.2f} times as {'slow' if ratio > 1 else 'fast'} the second "
            "time; measure both in turns to be sure: edgeseg bench OLD NEW"
        )
    found += [f"{when}: {doubt}" for when, one in (("old", old), ("new", new)) for doubt in _doubts(one.record)]
    return tuple(found)


def _doubts(record: Record) -> Iterator[str]:
    if not record.complete:
        yield "it was stopped before its time."
    yield from (f"{engine.name} failed: {engine.failed}" for engine in record.engines if engine.failed)
    yield from record.environment.flags


def _too_short(one: Measured) -> UsageError:
    return UsageError(
        f"{one.name} was measured for too short a time: {BLOCKS} blocks of {BLOCK_S:g} s are needed.",
        hint="Measure it for longer: edgeseg bench --duration 60s",
    )


def _together(old: Measured, new: Measured) -> Floats:
    """Ratios of two engines that took turns, block by block."""
    if old.record.settings.scenario == "camera":
        raise UsageError(
            "Before a camera engines take turns of some seconds, which are too long to be compared.",
            hint="Measure them frame by frame: edgeseg bench OLD NEW",
        )
    both = _paired(old.latencies(), new.latencies())
    if len(both) >= BLOCKS:
        return both
    for one in (old, new):
        if len(np.unique(one.latencies()[0] // BLOCK_S)) < BLOCKS:
            raise _too_short(one)
    raise UsageError(
        "The two were not measured in turns of less than two seconds, as those of a matrix are not.",
        hint="Measure them in turns: edgeseg bench OLD NEW",
    )


def _by_reference(old: Measured, new: Measured) -> tuple[Floats, Floats, tuple[str, ...]]:
    """How many times as long as the reference kernel each takes, block by block, and why that decides nothing."""
    every, quiet = [], []
    for one in (old, new):
        every.append(_paired(one.reference(), one.latencies()))
        if len(every[-1]) < BLOCKS:
            raise _too_short(one)
        quiet.append(_paired(one.reference(), one.latencies(), one.disturbed()))
    undisturbed = min(len(blocks) for blocks in quiet) >= BLOCKS
    before, after = quiet if undisturbed else every
    doubts = (() if undisturbed else (BUSY,)) + (() if _kernel(old) == _kernel(new) else (OTHER_KERNEL,))
    return before, after, doubts


def _kernel(one: Measured) -> tuple[int, set[str]]:
    """Versions of the reference kernel, and of what it comes from."""
    environment = one.record.environment
    opencv = {version for name, version in environment.versions.items() if name.startswith("opencv")}
    return environment.reference_version, opencv


def _paired(
    below: tuple[Floats, Floats], above: tuple[Floats, Floats], without: frozenset[int] = frozenset()
) -> Floats:
    """Ratios of medians, block by block of the time that both were measured in.

    Args:
        below, above: Seconds, and milliseconds.
        without: Blocks that are left out.
    """
    ends = np.arange(BLOCK_S, max(below[0][-1], above[0][-1]) + BLOCK_S, BLOCK_S)
    low, high = np.searchsorted(ends, below[0]), np.searchsorted(ends, above[0])
    blocks = [block for block in np.intersect1d(low, high) if int(block) not in without]
    found = [np.median(above[1][high == block]) / np.median(below[1][low == block]) for block in blocks]
    return np.array(found, np.float64)


def _interval_of_one(ratios: Floats) -> tuple[float, float]:
    return _ends(_medians(ratios, 0))


def _interval_of_two(before: Floats, after: Floats) -> tuple[float, float]:
    return _ends(_medians(after, 0) / _medians(before, 1))


def _medians(values: Floats, seed: int) -> Floats:
    chosen = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    return np.asarray(np.median(values[chosen], axis=1), np.float64)


def _ends(found: Floats) -> tuple[float, float]:
    low, high = np.percentile(found, (50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)))
    return float(low), float(high)
