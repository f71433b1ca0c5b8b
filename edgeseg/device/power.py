"""Power that sensors on the board tell: a Jetson's INA3221, an NVIDIA GPU's own, Intel's and AMD's RAPL."""

from __future__ import annotations

import contextlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from edgeseg.device.nvidia import open_card

__all__ = ["Processor", "Rail", "find_rail"]

Processor = Literal["cpu", "gpu"]
#: Rails that feed the whole module, by the names that JetPack gives them; where there is none, all are added.
MODULE_RAILS = ("VDD_IN", "POM_5V_IN")
#: Rails of which the sensor reports nothing that is connected.
NOT_CONNECTED = ("NC", "")


class Rail(ABC):
    """One place where power is measured.

    Attributes:
        name: As the sensor names it: what is measured, and what is not.
        sensor: Which one it is.
    """

    name: str
    sensor: str

    @abstractmethod
    def watts(self) -> float:
        """Power just now; of a counter of energy the mean since the last call.

        Raises:
            OSError: The sensor does not answer.
            ValueError: It tells no number.
        """


class Ina3221(Rail):
    """A Jetson's INA3221, whose files anybody may read.

    JetPack 5 and later keep voltage and current in `hwmon`, JetPack 4 the power in `iio:device`.

    Args:
        channels: Label, and files: voltage in mV and current in mA, or power in mW.
    """

    def __init__(self, channels: list[tuple[str, tuple[Path, ...]]]) -> None:
        module = [channel for channel in channels if channel[0] in MODULE_RAILS]
        self._channels = module[:1] or channels
        self.name = " + ".join(label for label, _ in self._channels)
        chips = dict.fromkeys(_chip(files[0]) for _, files in self._channels)
        self.sensor = f"INA3221 {', '.join(chips)}"

    def watts(self) -> float:
        """See `Rail.watts`."""
        return sum(_ina_watts(files) for _, files in self._channels)

    @classmethod
    def find(cls, root: Path) -> Ina3221 | None:
        """That of this machine."""
        drivers = sorted((root / "sys/bus/i2c/drivers").glob("ina3221*"))
        channels = [channel for driver in drivers for channel in (*_hwmon_channels(driver), *_iio_channels(driver))]
        return cls(channels) if channels else None


def _hwmon_channels(driver: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    for label in sorted(driver.glob("*-*/hwmon/hwmon*/in[123]_label")):
        name, number = _text(label), label.name[2]
        files = (label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input"))
        if name not in NOT_CONNECTED and all(file.is_file() for file in files):
            yield name, files


def _iio_channels(driver: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    for label in sorted(driver.glob("*-*/iio:device*/rail_name_[012]")):
        name, power = _text(label), label.with_name(f"in_power{label.name[-1]}_input")
        if name not in NOT_CONNECTED and power.is_file():
            yield name, (power,)


def _ina_watts(files: tuple[Path, ...]) -> float:
    values = [float(file.read_text()) for file in files]
    return values[0] * values[1] / 1e6 if len(values) == 2 else values[0] / 1e3


def _chip(file: Path) -> str:
    return next(part for part in file.parts if re.fullmatch(r"\d+-00[0-9a-f]{2}", part))


class Counter(Rail):
    """A rail whose sensor counts energy.

    Args:
        name, sensor: See `Rail`.
        wraps_j: Where its count begins anew, joules.
    """

    def __init__(self, name: str, sensor: str, wraps_j: float) -> None:
        self.name, self.sensor, self._wraps_j = name, sensor, wraps_j
        self._last: tuple[float, float] | None = None

    @abstractmethod
    def joules(self) -> float:
        """The count just now."""

    def watts(self) -> float:
        """See `Rail.watts`; at the first call the mean of a tenth of a second."""
        if self._last is None:
            self._last = time.monotonic(), self.joules()
            time.sleep(0.1)
        now, count = time.monotonic(), self.joules()
        then, before = self._last
        self._last = now, count
        used = count - before if count >= before else count - before + self._wraps_j
        return used / (now - then)


class Rapl(Counter):
    """RAPL: what the processor's packages use, without the rest of the machine. Most systems let root alone read it."""

    def __init__(self, zones: list[Path]) -> None:
        self._files = [zone / "energy_uj" for zone in zones]
        self._wraps = [float(_text(zone / "max_energy_range_uj") or "inf") / 1e6 for zone in zones]
        super().__init__(" + ".join(_text(zone / "name") for zone in zones), "RAPL (powercap)", float("inf"))
        self._zones: list[float] = []
        self._total = 0.0

    def joules(self) -> float:
        """See `Counter.joules`. Each package's own count begins anew at its own end."""
        counts = [float(file.read_text()) / 1e6 for file in self._files]
        for now, before, wraps in zip(counts, self._zones, self._wraps, strict=False):
            self._total += now - before if now >= before else now - before + wraps
        self._zones = counts
        return self._total

    @classmethod
    def find(cls, root: Path) -> Rapl | None:
        """That of this machine, where it may be read."""
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]"))
        packages = [zone for zone in zones if _text(zone / "name").startswith("package") and _text(zone / "energy_uj")]
        return cls(packages) if packages else None


class Nvml(Rail):
    """What an NVIDIA card uses, by its own sensor through NVML; the rest of the machine is not measured."""

    def __init__(self, nvml: Any, card: Any) -> None:
        self._nvml, self._card = nvml, card
        name = nvml.nvmlDeviceGetName(card)
        self.name, self.sensor = str(name.decode() if isinstance(name, bytes) else name), "NVML"
        self.watts()

    def watts(self) -> float:
        """See `Rail.watts`."""
        try:
            return float(self._nvml.nvmlDeviceGetPowerUsage(self._card)) / 1e3
        except self._nvml.NVMLError as error:
            raise OSError(f"NVML tells no power: {error}") from error

    @classmethod
    def find(cls) -> Nvml | None:
        """The first card, where there is one and its package is installed."""
        card = open_card()
        with contextlib.suppress(OSError):
            return cls(*card) if card is not None else None
        return None


class Jtop(Rail):
    """What jtop's service tells, where the files themselves can't be read, as in a container."""

    name, sensor = "total", "jtop"

    def __init__(self, jtop: Any) -> None:
        self._jtop = jtop
        self.watts()

    def watts(self) -> float:
        """See `Rail.watts`."""
        try:
            return float(self._jtop.power["tot"]["power"]) / 1e3
        except (KeyError, TypeError) as error:
            raise OSError(f"jtop tells no power: {error}") from error

    @classmethod
    def find(cls) -> Jtop | None:
        """That of this machine, where jetson-stats is installed and its service runs."""
        try:
            from jtop import jtop

            told = jtop(interval=0.2)
            told.start()
        except Exception:  # No package, or no service.
            return None
        with contextlib.suppress(OSError):
            return cls(told)
        told.close()
        return None


def find_rail(root: Path = Path("/"), *, processor: Processor | None = None) -> Rail | None:
    """Where the power of what is measured can be told best; None where no sensor can be read.

    A Jetson's module is told as a whole, whatever works in it. Elsewhere the processor and an NVIDIA card have a sensor
    each, which tells nothing of the other.

    Args:
        root: Folder that holds `sys`.
        processor: What works; None where that is both or unknown, which only a whole module's sensor tells of.
    """
    module = Ina3221.find(root) or Jtop.find()
    if module is not None or processor is None:
        return module
    return Nvml.find() if processor == "gpu" else Rapl.find(root)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""
