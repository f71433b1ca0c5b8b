"""How a machine is set and how it is, by trees of files.

The trees follow https://www.kernel.org/doc/html/latest/admin-guide/pm/cpufreq.html,
https://www.kernel.org/doc/html/latest/hwmon/sysfs-interface.html, NVIDIA's Jetson Linux Developer Guide
(https://docs.nvidia.com/jetson/archives/r36.4/DeveloperGuide/SD/PlatformPowerAndPerformance.html), and for the
Raspberry Pi's firmware https://www.raspberrypi.com/documentation/computers/os.html#get_throttled.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from edgeseg.bench.figures import changed, flags
from edgeseg.device.conditions import Moment
from edgeseg.device.machine import describe_device
from edgeseg.device.state import State, celsius, describe_state, throttle_counts, throttled, throttled_now
from tests.device.cards import card

Tree = dict[str, str]

CPUS = "sys/devices/system/cpu"
ORIN: Tree = {
    f"{CPUS}/cpu0/cpufreq/scaling_governor": "schedutil\n",
    f"{CPUS}/cpu0/cpufreq/scaling_cur_freq": "1190400\n", f"{CPUS}/cpu0/cpufreq/scaling_max_freq": "1510400\n",
    f"{CPUS}/cpu1/cpufreq/scaling_cur_freq": "729600\n", f"{CPUS}/cpu1/cpufreq/scaling_max_freq": "1510400\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/thermal/thermal_zone0/temp": "48500\n", "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/thermal/thermal_zone2/temp": "51250\n",
    "sys/class/hwmon/hwmon2/rpm": "1432\n", "sys/class/hwmon/hwmon1/oc1_event_cnt": "3\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n", "var/lib/nvpmodel/status": "pmode:0000\n",
}  # fmt: skip
PC: Tree = {
    "proc/cpuinfo": "processor\t: 0\ncpu MHz\t\t: 2400.000\n\nprocessor\t: 1\ncpu MHz\t\t: 2600.000\n",
    "sys/class/hwmon/hwmon0/fan1_input": "0\n", "sys/class/hwmon/hwmon0/fan2_input": "1103\n",
    f"{CPUS}/cpu0/thermal_throttle/core_throttle_count": "7\n",
}  # fmt: skip
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
REST = State(
    governor="schedutil", power_mode="15W", clock_mhz=700.0, clock_max_mhz=1500.0, gpu_mhz=300.0, celsius=40.0,
    fan_rpm=None, load=0.1,
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told is what the trees tell, whatever card this machine has."""
    monkeypatch.setattr("edgeseg.device.nvidia.open_card", lambda: None)


def machine(folder: Path, tree: Tree) -> Path:
    for name, text in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def told(state: State) -> tuple[object, ...]:
    return (
        state.governor, state.power_mode, state.clock_mhz, state.clock_max_mhz, state.gpu_mhz, state.celsius,
        state.fan_rpm,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param(
            ORIN, ("schedutil", "15W", 960.0, 1510.4, 306.0, 51.25, 1432.0), id="a Jetson, one of whose zones is off"
        ),
        pytest.param(
            PC, ("", "", 2500.0, None, None, None, 1103.0), id="a PC without cpufreq, one of whose fans rests"
        ),
        pytest.param({}, ("", "", None, None, None, None, None), id="a machine that tells nothing"),
    ],
)
def test_a_machines_state_is_what_its_files_tell(tmp_path: Path, tree: Tree, expected: tuple[object, ...]) -> None:
    found = told(describe_state(machine(tmp_path, tree)))
    assert found == pytest.approx(expected) if None not in found else found == expected


@pytest.mark.parametrize(
    ("governors", "expected"),
    [
        pytest.param(["performance"] * 4, "performance", id="all alike"),
        pytest.param(["schedutil"] * 4 + ["performance"] * 2, "performance, schedutil", id="clusters that differ"),
        pytest.param(["", "ondemand"], "ondemand", id="a core that does not tell"),
        pytest.param([], "", id="none"),
    ],
)
def test_all_governors_are_told(tmp_path: Path, governors: list[str], expected: str) -> None:
    tree = {f"{CPUS}/cpu{core}/cpufreq/scaling_governor": f"{name}\n" for core, name in enumerate(governors)}
    assert describe_state(machine(tmp_path, tree)).governor == expected
    assert describe_device(tmp_path).governor == expected


@pytest.mark.parametrize(
    ("tree", "of_card", "expected"),
    [
        pytest.param(ORIN, 70, 70.0, id="a card hotter than all zones"),
        pytest.param(ORIN, 40, 51.25, id="a zone hotter than the card"),
        pytest.param({}, 40, 40.0, id="a card alone"),
        pytest.param(ORIN, None, 51.25, id="a card that does not tell"),
    ],
)
def test_the_hottest_is_told_be_it_a_zone_or_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Tree, of_card: int | None, expected: float
) -> None:
    found = card() if of_card is None else card(nvmlDeviceGetTemperature=of_card)
    monkeypatch.setattr("edgeseg.device.nvidia.open_card", lambda: found)
    assert celsius(machine(tmp_path, tree)) == expected


HOT_PC = {f"{CPUS}/cpu{core}/thermal_throttle/core_throttle_count": "0\n" for core in range(6)}


@pytest.mark.parametrize(
    ("tree", "later", "told"),
    [
        pytest.param(
            ORIN, {"sys/class/hwmon/hwmon1/oc1_event_cnt": "4\n"}, "sys/class/hwmon/hwmon1/oc1_event_cnt",
            id="a Jetson that drew too much",
        ),
        pytest.param(
            PC, {f"{CPUS}/cpu0/thermal_throttle/core_throttle_count": "19\n"},
            f"{CPUS}/cpu0/thermal_throttle/core_throttle_count", id="a PC that grew hot",
        ),
        pytest.param(
            HOT_PC, dict.fromkeys(HOT_PC, "5\n"), f"{', '.join(sorted(HOT_PC)[:4])}, and 2 more",
            id="a PC all of whose cores grew hot",
        ),
        pytest.param(
            {FIRMWARE: "0\n"}, {FIRMWARE: "50005\n"}, "throttling (get_throttled), under-voltage (get_throttled)",
            id="a Raspberry Pi with too weak a supply",
        ),
        pytest.param(
            {FIRMWARE: "d0000\n"}, {FIRMWARE: "d0008\n"}, "soft temperature limit (get_throttled)",
            id="a Raspberry Pi to which that happens again",
        ),
        pytest.param(
            {FIRMWARE: "e000e\n"}, {FIRMWARE: "e000e\n"},
            "capped clock (get_throttled), soft temperature limit (get_throttled), throttling (get_throttled)",
            id="a Raspberry Pi to which that happens all the time",
        ),
        pytest.param(
            {FIRMWARE: "f000f\n"}, {FIRMWARE: "f000f\n"},
            "capped clock (get_throttled), soft temperature limit (get_throttled), throttling (get_throttled), "
            "under-voltage (get_throttled)",
            id="a Raspberry Pi to which all happens all the time",
        ),
        pytest.param(
            {FIRMWARE: "50000\n"}, {FIRMWARE: "70000\n"}, "capped clock (get_throttled)",
            id="a Raspberry Pi to which that happened for the first time, and is over",
        ),
        pytest.param(
            {FIRMWARE: "50005\n"}, {FIRMWARE: "70000\n"},
            "capped clock (get_throttled), throttling (get_throttled), under-voltage (get_throttled)",
            id="a Raspberry Pi that went from one to the other",
        ),
        pytest.param(
            {FIRMWARE: "40004\n"}, {FIRMWARE: "40000\n"}, "throttling (get_throttled)",
            id="a Raspberry Pi to which that happened at the beginning",
        ),
    ],
)  # fmt: skip
def test_a_machine_that_is_slowed_down_is_told_by_its_own_counters(
    tmp_path: Path, tree: Tree, later: Tree, told: str
) -> None:
    before = throttle_counts(machine(tmp_path, tree))
    after = throttle_counts(machine(tmp_path, later))
    assert throttled(before, after) == (f"The machine was throttled while it was measured: {told}.",)


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param(ORIN, id="a Jetson that drew too much once"),
        pytest.param(PC, id="a PC that was hot once"),
        pytest.param({FIRMWARE: "f0000\n"}, id="a Raspberry Pi to which all happened once"),
        pytest.param({FIRMWARE: "\n"}, id="a Raspberry Pi that does not tell"),
        pytest.param({}, id="a machine that tells nothing"),
    ],
)
def test_what_slowed_a_machine_down_before_is_not_told(tmp_path: Path, tree: Tree) -> None:
    before = throttle_counts(machine(tmp_path, tree))
    assert throttled(before, throttle_counts(tmp_path), throttled_now(tmp_path)) == ()


def test_what_slowed_a_machine_down_between_two_looks_is_told(tmp_path: Path) -> None:
    before = throttle_counts(machine(tmp_path, {FIRMWARE: "80000\n"}))
    meanwhile = throttled_now(machine(tmp_path, {FIRMWARE: "80008\n"}))
    after = throttle_counts(machine(tmp_path, {FIRMWARE: "80000\n"}))
    (flag,) = throttled(before, after, (*meanwhile, *meanwhile))
    assert flag == "The machine was throttled while it was measured: soft temperature limit (get_throttled)."


def moments(*clocks_mhz: float | None) -> list[Moment]:
    return [Moment(n * 10**9, 0.0, mhz, None, 40.0, None, 100.0) for n, mhz in enumerate(clocks_mhz)]


@pytest.mark.parametrize(
    ("clocks", "after", "flagged"),
    [
        pytest.param((1500.0, 1490.0, 1500.0), {}, "", id="clocks that stay"),
        pytest.param((1500.0, 1400.0, 1500.0), {}, "clock moved between 1400 and 1500", id="clocks that moved"),
        pytest.param((1500.0, 1500.0), {"clock_mhz": 300.0}, "", id="clocks that fall when the work is done"),
        pytest.param((1500.0, 1500.0), {"governor": "powersave"}, "15W schedutil before", id="another governor"),
        pytest.param((1500.0, 1500.0), {"power_mode": "MAXN"}, "MAXN schedutil after", id="another power mode"),
        pytest.param((None, None), {}, "", id="clocks that are not told"),
    ],
)
def test_clocks_that_move_under_load_and_settings_that_change_are_flagged(
    clocks: tuple[float | None, ...], after: dict[str, object], flagged: str
) -> None:
    found = (*changed(REST, replace(REST, **after)), *flags(moments(*clocks), {}, {}))
    assert len(found) == bool(flagged) and flagged in "".join(found)
