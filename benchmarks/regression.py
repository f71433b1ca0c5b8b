"""Whether `edgeseg report --diff` finds a slowdown on a noisy machine, and stays silent where there is none.

One engine is measured again and again while another process disturbs the machine, and each record is compared with each
other one. Then the same engine is made slower by a tenth, by work after each frame, and compared in both ways that
`--diff` knows: with each record of the engine as it is, and in turns with it.

    python benchmarks/regression.py ENGINE -o benchmarks/records/FOLDER/regression.json
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import psutil

from edgeseg.backends import Engine, Session
from edgeseg.bench import Benchmark, Settings, run_benchmark, runner, write_record
from edgeseg.bench.diff import Difference, Measured, differ
from edgeseg.build.store import find_engine, load_session
from edgeseg.cli.report import progress
from edgeseg.device import Device, describe_device
from edgeseg.files import write_bytes

SLOWED = "slowed"
#: Seconds that the disturbing process works, and rests, at most.
WORKS_S, RESTS_S = 3.0, 6.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        slowdown: What the engine was made slower by, as a share.
        repeats: Each record of the engine as it is, compared with each later one.
        planted: Each record of it compared with each of the slowed one.
        in_turns: The engine and itself, and the engine and the slowed one, measured in turns for a third of the time.
    """

    schema: Literal["edgeseg.regression/1"] = "edgeseg.regression/1"
    device: Device
    engine: str
    seconds: float
    slowdown: float
    repeats: tuple[Difference, ...]
    planted: tuple[Difference, ...]
    in_turns: tuple[Difference, ...]


def disturb(benchmark: psutil.Process) -> None:
    """Work and rest for random times, until that process has ended."""
    chance = random.Random(0)
    while not has_ended(benchmark):
        until = time.monotonic() + chance.uniform(0, WORKS_S)
        while time.monotonic() < until:
            pass
        time.sleep(chance.uniform(0, RESTS_S))


def has_ended(process: psutil.Process) -> bool:
    """Whether it is gone, or all that is left of it is its exit code, until its parent has looked."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def disturbed() -> Iterator[int]:
    """Another process, of the id that this gives, works now and then, and ends with this one at the latest.

    It is no child of this one, whose work would be taken for the benchmark's.
    """
    words = [sys.executable, __file__, "--disturb", str(os.getpid())]
    shell = subprocess.run(
        ["sh", "-c", '"$0" "$@" >/dev/null 2>&1 & echo $!', *words], check=True, capture_output=True, text=True
    )
    try:
        yield int(shell.stdout)
    finally:
        os.kill(int(shell.stdout), signal.SIGKILL)


def slowed(load: Callable[..., Session], share: float) -> Callable[..., Session]:
    """`load_session` whose sessions of the model `SLOWED` take longer by a share of the engine's own time."""

    def load_slowed(engine: Engine, **options: Any) -> Session:
        session = load(engine, **options)
        if engine.card.model == SLOWED:
            finish = session._finish

            def later(slot: int) -> dict[str, float]:
                times = finish(slot)
                until = time.perf_counter() + share * sum(times.values()) / 1e3
                while time.perf_counter() < until:
                    pass
                return times

            session._finish = later  # type: ignore[method-assign]
        return session

    return load_slowed


def measure(engines: Mapping[str, Engine], seconds: float) -> Benchmark:
    """One benchmark of so many seconds an engine."""
    return run_benchmark(engines, Settings(duration_s=seconds, iterations=1))


def compare(old: Benchmark, new: Benchmark) -> Difference:
    """The first engine of one record and the last of another, which may be the same."""
    return differ(Measured(old.record, 0, old.samples), Measured(new.record, len(new.record.engines) - 1, new.samples))


def measure_all(engine: Engine, repeats: int, seconds: float, slowdown: float, keep: Path | None) -> Result:
    """All that a `Result` holds."""
    slow = Engine(engine.path, msgspec.structs.replace(engine.card, model=SLOWED))
    vars(runner)["load_session"] = slowed(load_session, slowdown)
    plain, slower, turns = [], [], []
    with disturbed(), progress("Measuring") as update:
        for number in range(repeats):
            update(number / repeats, f"repeat {number + 1} of {repeats}")
            plain.append(measure({"engine": engine}, seconds))
            slower.append(measure({SLOWED: slow}, seconds))
            turns += [
                measure({"engine": engine, other: one}, seconds / 3)
                for other, one in (("itself", engine), (SLOWED, slow))
            ]
    if keep is not None:
        for kind, found in {"plain": plain, SLOWED: slower, "turns": turns}.items():
            for number, one in enumerate(found):
                write_record(one.record, one.samples, keep / f"{kind}-{number}")
    return Result(
        device=describe_device(),
        engine=engine.path.name,
        seconds=seconds,
        slowdown=slowdown,
        repeats=tuple(compare(old, new) for old, new in itertools.combinations(plain, 2)),
        planted=tuple(compare(old, new) for old, new in itertools.product(plain, slower)),
        in_turns=tuple(compare(one, one) for one in turns),
    )


def verdicts(found: tuple[Difference, ...], wanted: str) -> str:
    """How many have the verdict that is wanted, how many have none, and how far the others' ratios lie apart."""
    ratios = [one.ratio for one in found if one.verdict != "undecided"]
    right = sum(one.verdict == wanted for one in found)
    told = f"{right} of {len(found)} {wanted}, {len(found) - len(ratios)} undecided"
    return f"{told}, ratios of the others {min(ratios):.3f} to {max(ratios):.3f}" if ratios else told


def main() -> None:
    """Measure, print, and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", nargs="?", help="Path or name; the last built by default.")
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--disturb", type=int, metavar="PID", help="Work and rest, until that process has ended.")
    parser.add_argument("--keep", type=Path, help="Folder that gets every record and sample.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--duration", type=float, default=60.0, help="Seconds of each record; in turns a third.")
    parser.add_argument("--slowdown", type=float, default=0.1)
    asked = parser.parse_args()
    if asked.disturb is not None:
        return disturb(psutil.Process(asked.disturb))
    if asked.out is None:
        parser.error("-o is needed: the file that gets the record.")
    result = measure_all(find_engine(asked.engine), asked.repeats, asked.duration, asked.slowdown, asked.keep)
    write_bytes(asked.out, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    itself, planted = (tuple(one for one in result.in_turns if (one.new == SLOWED) is slow) for slow in (False, True))
    print(f"repeats:              {verdicts(result.repeats, 'no difference')}")
    print(f"slower by {result.slowdown:.0%}:        {verdicts(result.planted, 'slower')}")
    print(f"itself, in turns:     {verdicts(itself, 'no difference')}")
    print(f"slower by {result.slowdown:.0%}, turns: {verdicts(planted, 'slower')}")


if __name__ == "__main__":
    main()
