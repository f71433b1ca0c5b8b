"""Looks at a machine whose files are a tree: its processors' times, its sensors, and sensors that fail midway.

`stat` follows https://docs.kernel.org/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

psutil = pytest.importorskip("psutil")

from edgeseg.device import conditions
from edgeseg.device.conditions import Watch
from edgeseg.device.power import Rail, find_rail

TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
BOOTED = psutil.boot_time()
POWER = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input"
ENERGY = "sys/class/powercap/intel-rapl:0/energy_uj"
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"


def write(path: Path, text: str) -> None:
    """Replace a file in one go: a look may fall between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


def spend(root: Path, **seconds: int) -> None:
    """Write what the processors' times come to, as the kernel does in hundredths."""
    counts = " ".join(str(100 * seconds.get(name, 0)) for name in TIMES)
    write(root / "proc/stat", f"cpu  {counts}\nbtime {BOOTED:.0f}\n")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which there is this process alone, and which has not spent any time."""
    spend(tmp_path)
    (tmp_path / f"proc/{os.getpid()}").symlink_to(f"/proc/{os.getpid()}")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    return tmp_path


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "LOOK_S", 0.0)
    monkeypatch.setattr(conditions, "POWER_S", 0.005)


def jetson_rail(root: Path) -> Rail:
    write(root / POWER, "2345\n")
    write((root / POWER).with_name("rail_name_0"), "POM_5V_IN\n")
    rail = find_rail(root)
    assert rail is not None
    return rail


def wait_until(happened: Callable[[], object]) -> None:
    patience = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < patience, "it never happened"
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("spent", "by_others"),
    [
        pytest.param({"user": 5000}, True, id="other processes"),
        pytest.param({"steal": 5000}, True, id="the host of a virtual machine"),
        pytest.param({"idle": 5000, "iowait": 5000}, False, id="nobody"),
    ],
)
def test_load_by_others_is_what_keeps_the_processors_from_this_process(
    root: Path, spent: dict[str, int], by_others: bool
) -> None:
    with Watch(root=root) as watch:
        spend(root, **spent)
    (moment,) = watch.moments
    assert (moment.others > 0) == by_others


def test_load_before_a_watch_begins_is_none_of_it(root: Path) -> None:
    watch = Watch(root=root)
    spend(root, user=5000)
    with watch:
        pass
    assert [moment.others for moment in watch.moments] == [0.0]


@pytest.mark.usefixtures("often")
def test_a_sensor_of_power_that_reads_empty_for_a_while_is_read_again(root: Path) -> None:
    rail = jetson_rail(root)
    write(root / POWER, "")
    with Watch(rail, root) as watch:
        wait_until(lambda: len(watch.moments) > 2)
        assert watch.watts == []
        write(root / POWER, "2345\n")
        wait_until(lambda: watch.watts)
    assert watch.watts[0][1] == 2.345


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("text", [pytest.param(None, id="gone"), pytest.param("cpu  x\n", id="no numbers")])
def test_a_machine_that_can_not_be_looked_at_for_a_while_is_looked_at_again(root: Path, text: str | None) -> None:
    with Watch(jetson_rail(root), root) as watch:
        wait_until(lambda: watch.moments)
        (root / "proc/stat").unlink() if text is None else write(root / "proc/stat", text)
        readings = len(watch.watts)
        wait_until(lambda: len(watch.watts) > readings + 2)
        looks = len(watch.moments)
        spend(root)
        wait_until(lambda: len(watch.moments) > looks)
    assert looks >= 1 and len(watch.moments) > looks


@pytest.mark.usefixtures("often")
def test_energy_spent_before_a_watch_begins_is_none_of_its_power(root: Path) -> None:
    write(root / ENERGY, "0\n")
    write((root / ENERGY).with_name("name"), "package-0\n")
    rail = find_rail(root, processor="cpu")
    assert rail is not None and rail.watts() == 0
    write(root / ENERGY, "60000000\n")
    with Watch(rail, root) as watch:
        wait_until(lambda: watch.watts)
    assert watch.watts[0][1] == 0


def test_what_slows_a_machine_down_meanwhile_is_told(root: Path) -> None:
    with Watch(root=root) as watch:
        write(root / FIRMWARE, "50004\n")
    assert [moment.throttled for moment in watch.moments] == [("throttling (get_throttled) now",)]
