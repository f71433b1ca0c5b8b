"""What a board's files foretell, each with the command that mends it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from edgeseg.device import Device, describe_device
from edgeseg.doctor import board
from tests.device.boards import MAXN_SUPER, NANO_GPU_CLOCK, NANO_ZONES, ORIN_CLOCKS, ORIN_GPU_ZONE, ORIN_ZONES
from tests.device.test_machine import ORIN_NANO, machine

GIB = 1 << 30


@pytest.fixture
def orin(tmp_path: Path) -> Device:
    return machine(tmp_path, ORIN_NANO)


@pytest.mark.parametrize(
    ("installed", "status", "found", "fix"),
    [
        pytest.param(["3.10"], "fails", "this environment does not see it", "python3.10 -m venv", id="unseen"),
        pytest.param(["3.12"], "fails", "for Python 3.12, and this is 3.10", "python3.12 -m venv", id="another Python"),
        pytest.param(["3.8"], "fails", "for Python 3.8, which is too old", "--calibration-cache", id="JetPack 5's"),
        pytest.param(["3.8", "3.12"], "fails", "3.8, 3.12", "python3.12 -m venv", id="two, of which one is too old"),
        pytest.param([], "missing", "not installed", "sudo apt install python3-libnvinfer", id="not installed"),
    ],
)
def test_bindings_are_told_by_the_python_that_they_are_for(
    installed: list[str], status: str, found: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board.util, "find_spec", lambda name: None)
    for version in installed:
        (tmp_path / f"usr/lib/python{version}/dist-packages/tensorrt").mkdir(parents=True)
    check = board.check_bindings(tmp_path, (3, 10))
    assert (check.status, found in check.found, fix in check.fix) == (status, True, True)


def test_bindings_that_are_seen_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    assert board.check_bindings(tmp_path).status == "ok"


def test_tensorrt_from_pip_has_no_kernels_for_a_board(orin: Device) -> None:
    (check,) = board.check_pip_tensorrt(orin, ["tensorrt-cu12-libs"])
    assert check.status == "fails"
    assert "sm_87" in check.found
    assert "pip uninstall tensorrt-cu12-libs" in check.fix
    assert list(board.check_pip_tensorrt(orin, [])) == []


@pytest.mark.parametrize(
    ("available", "swap", "status"), [(5, 0, "ok"), (2, 4, "ok"), (2, 0, "warning")], ids=["enough", "swap", "little"]
)
def test_memory_and_swap_together_are_enough_to_build_or_not(
    available: int, swap: int, status: str, orin: Device
) -> None:
    device = msgspec.structs.replace(orin, memory_available_bytes=available * GIB, swap_free_bytes=swap * GIB)
    check = board.check_build_memory(device)
    assert check.status == status
    assert ("swapon" in check.fix) == (status == "warning")


@pytest.mark.parametrize("more", ["", "< POWER_MODEL ID=4 NAME=MAXN >\n"], ids=["", "beside MAXN"])
@pytest.mark.parametrize("fastest", MAXN_SUPER.values(), ids=MAXN_SUPER)
def test_a_slower_power_mode_is_a_warning(fastest: int, more: str, tmp_path: Path) -> None:
    modes = f"< POWER_MODEL ID=5 NAME=15W >\n{more}< POWER_MODEL ID={fastest} NAME=MAXN_SUPER >\n"
    for mode, status, fix in (
        (5, "warning", f"sudo nvpmodel -m {fastest} && sudo jetson_clocks"),
        (fastest, "ok", ""),
    ):
        files = ORIN_NANO | {"etc/nvpmodel.conf": modes, "var/lib/nvpmodel/status": f"pmode:{mode:04}"}
        root = tmp_path / str(mode)
        check = board.check_power(machine(root, files), root)
        assert (check.status, check.fix) == (status, fix)


@pytest.mark.parametrize(
    ("processor", "gpu", "status", "found"),
    [
        pytest.param(
            ORIN_CLOCKS, None, "warning", "processor 115 to 2201 MHz", id="a processor's that follow the load"
        ),
        pytest.param(ORIN_CLOCKS[1:] * 2, ("76800000", "921600000"), "warning", "GPU 76 to 921 MHz", id="a GPU's"),
        pytest.param(ORIN_CLOCKS[1:] * 2, ("921600000",) * 2, "ok", "GPU 921 to 921 MHz", id="clocks that stand still"),
        pytest.param(None, None, "ok", "not told", id="no files"),
    ],
)
def test_clocks_that_follow_the_load_are_a_warning(
    processor: tuple[str, str] | None, gpu: tuple[str, str] | None, status: str, found: str, tmp_path: Path
) -> None:
    folders = {"sys/devices/system/cpu/cpu0/cpufreq/scaling_": processor, f"sys/class/devfreq/{NANO_GPU_CLOCK}/": gpu}
    for path, ends in folders.items():
        for end, value in zip(("min", "max"), ends or (), strict=False):
            file = tmp_path / f"{path}{end}_freq"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(value + "\n")
    check = board.check_clocks(tmp_path)
    assert (check.status, found in check.found) == (status, True)
    assert check.fix == ("sudo jetson_clocks" if status == "warning" else "")


def test_tensorrt_from_pip_is_left_alone_from_jetpack_7_on(orin: Device) -> None:
    thor = msgspec.structs.replace(orin, l4t="38.2.0")
    assert list(board.check_pip_tensorrt(thor, ["tensorrt-cu13-libs"])) == []


NANO = {index: (kind, "45000") for index, kind in enumerate(NANO_ZONES)}
ORIN = {number: (f"{kind}-therm", "45000") for number, kind in ORIN_ZONES.items()}


@pytest.mark.parametrize("known", [NANO, ORIN], ids=["a Nano's zones", "an Orin's"])
@pytest.mark.parametrize(("temperature", "status"), [("51343", "ok"), ("88500", "warning")])
def test_heat_is_that_of_the_hottest_zone(
    temperature: str, status: str, known: dict[int, tuple[str, str]], tmp_path: Path
) -> None:
    write_zones(tmp_path, known | {10: ("tj-thermal", temperature), 11: ("cv0-thermal", "none")})
    (check,) = board.check_heat(tmp_path)
    assert (check.status, "tj-thermal" in check.found) == (status, True)


def test_one_zone_is_told_by_name_and_degrees(tmp_path: Path) -> None:
    number, kind, degrees = ORIN_GPU_ZONE
    write_zones(tmp_path, {number: (kind, degrees)})
    (check,) = board.check_heat(tmp_path)
    assert (check.status, check.found) == ("ok", "43 °C, gpu-thermal")


def write_zones(root: Path, zones: dict[int, tuple[str, str]]) -> None:
    for index, (kind, degrees) in zones.items():
        zone = root / f"sys/class/thermal/thermal_zone{index}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(kind + "\n")
        (zone / "temp").write_text(degrees + "\n")


@pytest.mark.parametrize(
    ("opencv", "numpy", "fails"),
    [
        pytest.param("/usr/lib/python3.10/dist-packages/cv2/__init__.py", "2.2.0", True, id="JetPack's, and numpy 2"),
        pytest.param("/usr/lib/python3.10/dist-packages/cv2/__init__.py", "1.26.4", False, id="JetPack's, numpy 1"),
        pytest.param("/home/me/venv/lib/python3.10/site-packages/cv2/__init__.py", "2.2.0", False, id="pip's"),
        pytest.param("", "2.2.0", False, id="none"),
    ],
)
def test_the_systems_opencv_wants_numpy_1(opencv: str, numpy: str, fails: bool) -> None:
    checks = list(board.check_numpy_for_opencv(opencv, numpy))
    assert [check.fix for check in checks] == (["pip install 'numpy<2'"] if fails else [])


def test_a_board_is_examined_whole_and_a_pc_briefly(orin: Device, tmp_path: Path) -> None:
    pc = msgspec.structs.replace(describe_device(), board="", l4t="", gpus=())
    assert "cameras" in [check.name for check in board.examine_board(pc, tmp_path)]
    names = [check.name for check in board.examine_board(orin, tmp_path)]
    assert {"tensorrt of jetpack", "memory to build", "power mode", "gstreamer", "cuda", "cameras"} <= set(names)
