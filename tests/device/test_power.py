"""Power by trees of files as real machines have them.

The trees follow https://www.kernel.org/doc/html/latest/hwmon/ina3221.html, the tables of rails in NVIDIA's Jetson Linux
Developer Guide (https://docs.nvidia.com/jetson/archives/r36.4/DeveloperGuide/SD/PlatformPowerAndPerformance.html), for
JetPack 4 https://docs.nvidia.com/jetson/archives/l4t-archived/l4t-3275/, and for RAPL
https://www.kernel.org/doc/html/latest/power/powercap/powercap.html.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.device.power import Processor, Rail, find_rail
from tests.device.cards import card

Tree = dict[str, str]

NANO = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
ORIN_NANO: Tree = {
    f"{NANO}/in1_label": "VDD_IN\n", f"{NANO}/in1_input": "5064\n", f"{NANO}/curr1_input": "984\n",
    f"{NANO}/in2_label": "VDD_CPU_GPU_CV\n", f"{NANO}/in2_input": "5056\n", f"{NANO}/curr2_input": "112\n",
    f"{NANO}/in3_label": "VDD_SOC\n", f"{NANO}/in3_input": "5056\n", f"{NANO}/curr3_input": "288\n",
    f"{NANO}/in7_label": "sum of shunt voltages\n", f"{NANO}/in7_input": "6920\n",
}  # fmt: skip
AGX = "sys/bus/i2c/drivers/ina3221"
AGX_ORIN: Tree = {
    f"{AGX}/1-0040/hwmon/hwmon3/in1_label": "VDD_GPU_SOC\n",
    f"{AGX}/1-0040/hwmon/hwmon3/in1_input": "19120\n", f"{AGX}/1-0040/hwmon/hwmon3/curr1_input": "208\n",
    f"{AGX}/1-0040/hwmon/hwmon3/in2_label": "VDD_CPU_CV\n",
    f"{AGX}/1-0040/hwmon/hwmon3/in2_input": "19120\n", f"{AGX}/1-0040/hwmon/hwmon3/curr2_input": "40\n",
    f"{AGX}/1-0040/hwmon/hwmon3/in3_label": "VIN_SYS_5V0\n",
    f"{AGX}/1-0040/hwmon/hwmon3/in3_input": "4960\n", f"{AGX}/1-0040/hwmon/hwmon3/curr3_input": "656\n",
    f"{AGX}/1-0041/hwmon/hwmon4/in1_label": "NC\n",
    f"{AGX}/1-0041/hwmon/hwmon4/in1_input": "0\n", f"{AGX}/1-0041/hwmon/hwmon4/curr1_input": "0\n",
    f"{AGX}/1-0041/hwmon/hwmon4/in2_label": "VDDQ_VDD2_1V8AO\n",
    f"{AGX}/1-0041/hwmon/hwmon4/in2_input": "4960\n", f"{AGX}/1-0041/hwmon/hwmon4/curr2_input": "128\n",
}  # fmt: skip
OLD = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
JETSON_NANO: Tree = {
    f"{OLD}/rail_name_0": "POM_5V_IN\n", f"{OLD}/in_power0_input": "2345\n",
    f"{OLD}/rail_name_1": "POM_5V_GPU\n", f"{OLD}/in_power1_input": "82\n",
    f"{OLD}/rail_name_2": "POM_5V_CPU\n", f"{OLD}/in_power2_input": "412\n",
}  # fmt: skip
PACKAGE = "sys/class/powercap/intel-rapl:0"
MINI_PC: Tree = {
    f"{PACKAGE}/name": "package-0\n", f"{PACKAGE}/energy_uj": "262143000000\n",
    f"{PACKAGE}/max_energy_range_uj": "262143328850\n",
    "sys/class/powercap/intel-rapl:0:0/name": "core\n", "sys/class/powercap/intel-rapl:0:0/energy_uj": "1\n",
    "sys/class/powercap/intel-rapl:1/name": "psys\n", "sys/class/powercap/intel-rapl:1/energy_uj": "1\n",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told is what the trees tell, whatever card this machine has."""
    monkeypatch.setattr("edgeseg.device.power.open_card", lambda: None)


def machine(folder: Path, tree: Tree) -> Path:
    for name, text in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def rail_of(folder: Path, tree: Tree) -> Rail:
    rail = find_rail(machine(folder, tree), processor="cpu")
    assert rail is not None
    return rail


@pytest.mark.parametrize(
    ("tree", "name", "sensor", "watts"),
    [
        pytest.param(ORIN_NANO, "VDD_IN", "INA3221 1-0040", 5.064 * 0.984, id="Orin Nano: its module's rail"),
        pytest.param(
            AGX_ORIN,
            "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 + VDDQ_VDD2_1V8AO",
            "INA3221 1-0040, 1-0041",
            19.12 * 0.208 + 19.12 * 0.040 + 4.96 * 0.656 + 4.96 * 0.128,
            id="AGX Orin: all rails that are connected",
        ),
        pytest.param(JETSON_NANO, "POM_5V_IN", "INA3221 6-0040", 2.345, id="Jetson Nano with JetPack 4"),
    ],
)
def test_a_jetson_tells_its_power(tmp_path: Path, tree: Tree, name: str, sensor: str, watts: float) -> None:
    rail = rail_of(tmp_path, tree)
    assert (rail.name, rail.sensor) == (name, sensor)
    assert rail.watts() == pytest.approx(watts)


def test_a_sensor_that_is_gone_is_told(tmp_path: Path) -> None:
    rail = rail_of(tmp_path, ORIN_NANO)
    (tmp_path / f"{NANO}/curr1_input").unlink()
    with pytest.raises(OSError):
        rail.watts()


def test_a_counter_of_energy_begins_anew_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("edgeseg.device.power.time.monotonic", lambda: now[0])
    energy = tmp_path / f"{PACKAGE}/energy_uj"

    def after(seconds: float, microjoules: int) -> None:
        now[0] += seconds
        energy.write_text(f"{microjoules}\n")

    monkeypatch.setattr("edgeseg.device.power.time.sleep", lambda seconds: after(seconds, 262143300000))
    rail = rail_of(tmp_path, MINI_PC)
    assert (rail.name, rail.sensor) == ("package-0", "RAPL (powercap)")
    assert rail.watts() == pytest.approx(3.0, rel=1e-6)
    after(1.0, 4_971_150)
    assert rail.watts() == pytest.approx(5.0, rel=1e-6), "0.028850 J up to the end, and 4.971150 J from 0 on"
    after(2.0, 24_971_150)
    assert rail.watts() == pytest.approx(10.0, rel=1e-6)


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param({}, id="nothing"),
        pytest.param({f"{NANO}/in1_label": "NC\n", f"{NANO}/in1_input": "0", f"{NANO}/curr1_input": "0"}, id="NC"),
        pytest.param({f"{NANO}/in1_label": "VDD_IN\n"}, id="a label alone"),
        pytest.param({f"{PACKAGE}/name": "package-0\n"}, id="RAPL that root alone may read"),
    ],
)
def test_where_nothing_is_measured_nothing_is_told(tmp_path: Path, tree: Tree) -> None:
    assert find_rail(machine(tmp_path, tree), processor="cpu") is None
    assert find_rail(tmp_path, processor="gpu") is None


@pytest.mark.parametrize(
    ("tree", "processor", "sensor"),
    [
        pytest.param(MINI_PC, "cpu", "RAPL (powercap)", id="the processor beside a card"),
        pytest.param(MINI_PC, "gpu", "NVML", id="the card"),
        pytest.param(MINI_PC, None, "", id="both at once"),
        pytest.param({}, "cpu", "", id="a processor without a sensor beside a card"),
        pytest.param(ORIN_NANO, "cpu", "INA3221 1-0040", id="a module's processor"),
        pytest.param(ORIN_NANO, "gpu", "INA3221 1-0040", id="a module's GPU"),
        pytest.param(ORIN_NANO, None, "INA3221 1-0040", id="both of a module"),
    ],
)
def test_the_sensor_is_that_of_what_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Tree, processor: Processor | None, sensor: str
) -> None:
    found = card(nvmlDeviceGetName="NVIDIA L4", nvmlDeviceGetPowerUsage=31_500)
    monkeypatch.setattr("edgeseg.device.power.open_card", lambda: found)
    rail = find_rail(machine(tmp_path, tree), processor=processor)
    assert (rail.sensor if rail is not None else "") == sensor


def test_a_card_tells_its_power(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = card(nvmlDeviceGetName="NVIDIA L4", nvmlDeviceGetPowerUsage=31_500)
    monkeypatch.setattr("edgeseg.device.power.open_card", lambda: found)
    rail = find_rail(tmp_path, processor="gpu")
    assert rail is not None and (rail.name, rail.watts()) == ("NVIDIA L4", 31.5)
