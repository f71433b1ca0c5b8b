"""How a machine is set and how it is just now: governor, clocks, heat, fan, load."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from edgeseg.device.cpu import governors
from edgeseg.device.jetson import power_mode
from edgeseg.device.nvidia import card_celsius, card_clock_mhz, card_slowdowns

__all__ = [
    "State",
    "celsius",
    "clock_mhz",
    "describe_state",
    "gpu_mhz",
    "throttle_counts",
    "throttled",
    "throttled_now",
]

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
#: A Raspberry Pi's, hexadecimal: four bits of what slows it down just now, from bit 16 on of what has since its start.
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
FIRMWARE_BITS = ("under-voltage", "capped clock", "throttling", "soft temperature limit")
#: How names end of what slows a machine down just now, and of what has since it was started.
NOW, EVER = " now", " since the start"
FIRMWARE_SHIFTS = {NOW: 0, EVER: 16}
#: Names of what slowed a machine down that are told at most.
TOLD = 4


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How a machine is set, and how it is just now. A text is empty, a number None, where it does not tell.

    Attributes:
        governor: Of the cores' clocks, such as `performance`; where they differ, as `performance, schedutil`.
        power_mode: Of a Jetson.
        clock_mhz, gpu_mhz: Of the processor's cores in the mean, and of the GPU.
        clock_max_mhz: The fastest that the governor may take.
        celsius: The hottest zone, or an NVIDIA card where that is hotter.
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
    """What tells that a machine is slowed down, for `throttled` to compare: counts that go up, by file; and 1 or 0, by
    name, for what slows it down just now, and for what has since it was started.
    """
    counts = {file: int(count) for file, count in _read(root, *THROTTLES)}
    return counts | _firmware_bits(root, EVER) | _slowdowns(root)


def throttled_now(root: Path = Path("/")) -> tuple[str, ...]:
    """Names of what slows a machine down just now, as a Raspberry Pi's firmware and an NVIDIA card's driver tell."""
    return tuple(name for name, slows in _slowdowns(root).items() if slows)


def throttled(before: Mapping[str, int], after: Mapping[str, int], meanwhile: Iterable[str] = ()) -> tuple[str, ...]:
    """That a machine was slowed down between two looks, and by what: a sentence, or none.

    Args:
        before, after: What `throttle_counts` told.
        meanwhile: What `throttled_now` told between the two.
    """
    risen = {name for name, count in after.items() if count > before.get(name, count)}
    lasting = {name for told in (before, after) for name, count in told.items() if name.endswith(NOW) and count}
    causes = sorted({name.removesuffix(NOW).removesuffix(EVER) for name in risen | lasting | {*meanwhile}})
    if not causes:
        return ()
    more = f", and {len(causes) - TOLD} more" if len(causes) > TOLD else ""
    return (f"The machine was throttled while it was measured: {', '.join(causes[:TOLD])}{more}.",)


def _slowdowns(root: Path) -> dict[str, int]:
    card = {f"{name} (NVML){NOW}": int(slows) for name, slows in card_slowdowns().items()}
    return _firmware_bits(root, NOW) | card


def _firmware_bits(root: Path, when: str) -> dict[str, int]:
    """Bits of a Raspberry Pi's firmware by name; none on other machines."""
    with contextlib.suppress(OSError, ValueError):
        bits = int((root / FIRMWARE).read_text(), 16) >> FIRMWARE_SHIFTS[when]
        return {f"{name} (get_throttled){when}": bits >> bit & 1 for bit, name in enumerate(FIRMWARE_BITS)}
    return {}


def clock_mhz(root: Path = Path("/")) -> float | None:
    """Clock of the processor's cores, in the mean; None where the machine does not tell."""
    told = _numbers(root, CLOCKS, unit=1e-3)
    if not told:
        with contextlib.suppress(OSError, ValueError):
            text = (root / "proc/cpuinfo").read_text(errors="replace")
            told = [float(mhz) for mhz in re.findall(r"^cpu MHz\s*: ([\d.]+)$", text, re.MULTILINE)]
    return sum(told) / len(told) if told else None


def gpu_mhz(root: Path = Path("/")) -> float | None:
    """Clock of the GPU: of a system on chip's by its driver, of an NVIDIA card by NVML; None where neither tells."""
    told = _numbers(root, *GPU_CLOCKS, unit=1e-6)
    return told[0] if told else card_clock_mhz()


def celsius(root: Path = Path("/")) -> float | None:
    """Temperature of the hottest zone, or of an NVIDIA card where that is hotter; None where neither tells."""
    zones = [value for value in _numbers(root, ZONES, unit=1e-3) if -50 < value < 200]
    card = card_celsius()
    return max(zones if card is None else (*zones, card), default=None)


def _numbers(root: Path, *patterns: str, unit: float = 1.0) -> list[float]:
    return [unit * number for _, number in _read(root, *patterns)]


def _read(root: Path, *patterns: str) -> Iterator[tuple[str, int]]:
    """Files and the numbers in them, without those that do not answer, as a Jetson's zones of parts that are off."""
    for pattern in patterns:
        for file in sorted(root.glob(pattern)):
            with contextlib.suppress(OSError, ValueError):
                yield str(file.relative_to(root)), int(file.read_text())
