"""NVIDIA GPUs, as the driver's own tool lists them, and how the first card is just now, by NVML."""

from __future__ import annotations

import contextlib
import csv
import functools
import subprocess
from typing import Any

import msgspec

__all__ = ["Gpu", "card_celsius", "card_clock_mhz", "card_slowdowns", "list_gpus", "open_card"]

QUERY = ("name", "driver_version", "memory.total", "compute_cap")
#: What is asked of NVML, by its numbers: the multiprocessors' clock, and the chip's own sensor.
CLOCK_SM, TEMPERATURE_GPU = 1, 0
#: NVML's bits of what holds clocks down, as nvidia-smi names them. A card that has nothing to do is slow anyway.
IDLE = 0x1
SLOWDOWNS = {
    "SW Power Cap": 0x4,
    "HW Slowdown": 0x8,
    "SW Thermal Slowdown": 0x20,
    "HW Thermal Slowdown": 0x40,
    "HW Power Brake Slowdown": 0x80,
}


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
    return _told(("nvmlDeviceGetClockInfo",), CLOCK_SM)


def card_celsius() -> float | None:
    """Temperature of the first card's chip just now; None where NVML does not tell."""
    return _told(("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"), TEMPERATURE_GPU)


def card_slowdowns() -> dict[str, bool]:
    """By the names of `SLOWDOWNS`, what holds the first card's clocks down just now; empty where NVML does not tell."""
    bits = _told(("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"))
    return {} if bits is None else {name: bool(bits & bit) and not bits & IDLE for name, bit in SLOWDOWNS.items()}


def _told(functions: tuple[str, ...], *arguments: int) -> int | None:
    """What NVML tells of the first card, by the first of these functions that its package and the driver have."""
    found = open_card()
    if found is None:
        return None
    nvml, card = found
    for function in functions:
        with contextlib.suppress(AttributeError, nvml.NVMLError):
            return int(getattr(nvml, function)(card, *arguments))
    return None


def _mebibytes(text: str) -> int:
    """Bytes from a count of MiB; 0 where the tool says that it does not know, as for integrated GPUs."""
    return int(text) << 20 if text.strip().isdigit() else 0
