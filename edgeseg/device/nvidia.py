"""NVIDIA GPUs, as the driver's own tool lists them, and the clock of the first by NVML."""

from __future__ import annotations

import csv
import functools
import subprocess
from typing import Any

import msgspec

__all__ = ["Gpu", "card_clock_mhz", "list_gpus", "open_card"]

QUERY = ("name", "driver_version", "memory.total", "compute_cap")


class Gpu(msgspec.Struct, frozen=True):
    """One NVIDIA GPU.

    Attributes:
        driver: Version of the driver; empty for a GPU inside a system on chip, whose driver is part of JetPack.
        memory_bytes: Memory of its own; 0 where it shares the machine's.
        compute_capability: Such as `8.7`.
    """

    name: str
    driver: str
    memory_bytes: int
    compute_capability: str


def list_gpus(tool: str = "nvidia-smi", *, timeout_s: float = 10) -> tuple[Gpu, ...]:
    """The GPUs that `tool` lists; none where it is absent, fails, or hangs on a broken driver."""
    command = [tool, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = (row for row in csv.reader(done.stdout.splitlines(), skipinitialspace=True) if len(row) == len(QUERY))
    return tuple(Gpu(name, driver, _mebibytes(memory), capability) for name, driver, memory, capability in rows)


@functools.cache
def open_card() -> tuple[Any, Any] | None:
    """NVML's module and its handle of the first card; None without its package, a driver that answers, or a card."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
    except Exception:  # Its own errors have no name where its package is absent.
        return None


def card_clock_mhz() -> float | None:
    """Clock of the first card's multiprocessors just now; None where NVML does not tell."""
    found = open_card()
    if found is None:
        return None
    nvml, card = found
    try:
        return float(nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM))
    except nvml.NVMLError:
        return None


def _mebibytes(text: str) -> int:
    """Bytes from a count of MiB; 0 where the tool says that it does not know, as for integrated GPUs."""
    return int(text) << 20 if text.strip().isdigit() else 0
