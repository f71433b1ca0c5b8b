"""One round of one engine: the process that measures it, and whether what lies in its folder is one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from edgeseg.backends import open_backend
from edgeseg.bench.collection import read_with_samples
from edgeseg.bench.record import Record, Settings
from edgeseg.bench.reference import VERSION
from edgeseg.bench.runner import options_of
from edgeseg.bench.surroundings import versions
from edgeseg.children import child_command, child_environment
from edgeseg.device import Device
from edgeseg.errors import UsageError

__all__ = ["fault", "measure_round"]

#: What of a machine has to be the same for rounds to be put together, and what it is called.
SAME = {"board": "board", "cpu": "processor", "cores": "cores", "power_mode": "power mode"}


def measure_round(engine: Path, out: Path, settings: Settings, threads: int | None) -> str:
    """Measure an engine in a process of its own, which ends with this one, however that ends.

    Args:
        engine: Which.
        out: Gets all that `edgeseg bench` leaves.
        settings: Of this round.
        threads: Of the engine; None is all cores.

    Returns:
        Why it failed; empty where it did not.

    Raises:
        KeyboardInterrupt: The process has had the signal too, and is ended.
    """
    words = ["bench", str(engine), "-o", str(out), "--no-roofline", *options_of(settings)]
    asked = {} if threads is None else {"EDGESEG_THREADS": str(threads)}
    stdin, held = os.pipe()  # Nobody but this process holds the other end, and it is never written to.
    try:
        done = subprocess.run(
            child_command("edgeseg.cli.bench_matrix", *words),
            stdin=stdin,
            capture_output=True,
            text=True,
            env=child_environment() | asked,
        )
    finally:
        os.close(held)
        os.close(stdin)
    if not done.returncode:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line.partition(": ")[2] for line in lines if line.startswith("error: ")]
    return (errors or lines or [f"It ended with code {done.returncode}."])[-1]


def made_by(record: Record) -> dict[str, str]:
    """Versions of what measured a record."""
    libraries = {engine.backend: engine.library for engine in record.engines}
    return record.environment.versions | libraries | {"kernel": str(record.environment.reference_version)}


def made_now(record: Record) -> dict[str, str]:
    """Versions of what would measure it here and now."""
    libraries = {engine.backend: open_backend(engine.backend).version() for engine in record.engines}
    return versions() | libraries | {"kernel": str(VERSION)}


def _listed(some: dict[str, str], others: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in some.items() if others.get(name) != version) or "less"


def fault(path: Path, here: Device) -> str:
    """Why a round is none that can be put together with others; empty where it can.

    Args:
        path: Of its record.
        here: This machine.
    """
    try:
        record, _ = read_with_samples(path)
    except UsageError as error:
        return error.message
    if not record.complete:
        return "It was stopped before its time."
    if failed := [one.failed for one in record.engines if one.failed or one.latency is None]:
        return failed[0] or "It holds no times."
    if (made := made_by(record)) != (now := made_now(record)):
        return f"It was made by {_listed(made, now)} instead of {_listed(now, made)}."
    there = record.environment.device
    other = [
        f"{name} {getattr(there, field) or 'none'} instead of {getattr(here, field) or 'none'}"
        for field, name in SAME.items()
        if getattr(there, field) != getattr(here, field)
    ]
    return f"It is of another machine: {', '.join(other)}." if other else ""
