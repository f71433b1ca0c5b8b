"""How a machine is set and how it is just now: governor, clocks, heat, fan, load."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgeseg.device.cpu import governors
from edgeseg.device.jetson import power_mode
from edgeseg.device.nvidia import card_clock_mhz

__all__ = ["State", "celsius", "clock_mhz", "describe_state", "gpu_mhz", "throttle_counts"]

#: Where GPUs of systems on chip tell their clock.
GPU_CLOCKS = tuple(f"sys/class/devfreq/*{name}*/cur_freq" for name in ("gpu", "gv11b", "ga10b", "gp10b", "gm20b"))
CLOCKS = "sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"
CLOCK_LIMITS = "sys/devices/system/cpu/cpu*/cpufreq/scaling_max_freq"
#: Tachometers of PCs and boards, and a Jetson's.
FANS = ("sys/class/hwmon/hwmon*/fan*_input", "sys/class/hwmon/hwmon*/rpm")
ZONES = "sys/class/thermal/thermal_zone*/temp"
#: Counters that go up when a machine is slowed down: by heat on Intel, by current on Jetson.
THROTTLES = (
    "sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count",
    "sys/class/hwmon/hwmon*/oc*_event_cnt",
)
#: A Raspberry Pi's, hexadecimal: bits 16 to 19 tell of too little voltage, capped clocks, throttling and heat since it
#: was started, bits 0 to 3 of the same just now.
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How a machine is set, and how it is just now. A text is empty, a number None, where it does not tell.

    Attributes:
        governor: Of the cores' clocks, such as `performance`; where they differ, as `performance, schedutil`.
        power_mode: Of a Jetson.
        clock_mhz, gpu_mhz: Of the processor's cores in the mean, and of the GPU.
        clock_max_mhz: The fastest that the governor may take.
        celsius: The hottest zone.
        fan_rpm: The fastest fan, turns a minute.
        load: Processes that were ready to run, in the mean of the last minute.
    """

    governor: str
    power_mode: str
    clock_mhz: float | None
    clock_max_mhz: float | None
    gpu_mhz: float | None
    celsius: float | None
    fan_rpm: float | None
    load: float | None


def describe_state(root: Path = Path("/")) -> State:
    """How this machine is.

    Args:
        root: Folder that holds `sys`, `etc` and `var`.
    """
    return State(
        governor=governors(root),
        power_mode=power_mode(root),
        clock_mhz=clock_mhz(root),
        clock_max_mhz=max(_numbers(root, CLOCK_LIMITS, unit=1e-3), default=None),
        gpu_mhz=gpu_mhz(root),
        celsius=celsius(root),
        fan_rpm=max(_numbers(root, *FANS), default=None),
        load=os.getloadavg()[0],
    )


def throttle_counts(root: Path = Path("/")) -> dict[str, int]:
    """Counts that go up when the machine is slowed down, by file, so that two looks can be compared."""
    found = {file: int(count) for file, count in _read(root, *THROTTLES)}
    firmware = root / FIRMWARE
    if firmware.is_file():
        flags = int(firmware.read_text(), 16)
        found[FIRMWARE] = (flags >> 16) + (flags & 0xF)
    return found


def clock_mhz(root: Path = Path("/")) -> float | None:
    """Clock of the processor's cores, in the mean; None where the machine does not tell."""
    told = _numbers(root, CLOCKS, unit=1e-3)
    if not told:
        with contextlib.suppress(OSError):
            text = (root / "proc/cpuinfo").read_text(errors="replace")
            told = [float(mhz) for mhz in re.findall(r"^cpu MHz\s*: ([\d.]+)$", text, re.MULTILINE)]
    return sum(told) / len(told) if told else None


def gpu_mhz(root: Path = Path("/")) -> float | None:
    """Clock of the GPU: of a system on chip's by its driver, of an NVIDIA card by NVML; None where neither tells."""
    told = _numbers(root, *GPU_CLOCKS, unit=1e-6)
    return told[0] if told else card_clock_mhz()


def celsius(root: Path = Path("/")) -> float | None:
    """Temperature of the hottest zone."""
    return max((value for value in _numbers(root, ZONES, unit=1e-3) if -50 < value < 200), default=None)


def _numbers(root: Path, *patterns: str, unit: float = 1.0) -> list[float]:
    return [unit * number for _, number in _read(root, *patterns)]


def _read(root: Path, *patterns: str) -> Iterator[tuple[str, int]]:
    """Files and the numbers in them, without those that do not answer, as a Jetson's zones of parts that are off."""
    for pattern in patterns:
        for file in sorted(root.glob(pattern)):
            with contextlib.suppress(OSError, ValueError):
                yield str(file.relative_to(root)), int(file.read_text())
