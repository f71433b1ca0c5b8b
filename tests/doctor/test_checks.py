from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from edgeseg.device import Device, describe_device
from edgeseg.doctor import Check, examine, working_backends
from edgeseg.doctor import installed as installed_checks
from edgeseg.doctor import machine as machine_checks

HERE = describe_device()


def device(**changes: object) -> Device:
    return msgspec.structs.replace(HERE, **changes)


@pytest.mark.parametrize(
    ("arch", "features", "status", "found"),
    [
        pytest.param("x86_64", ("avx2", "avx_vnni"), "ok", "avx_vnni", id="a PC with VNNI"),
        pytest.param("x86_64", ("avx2", "avx512_vnni"), "ok", "avx512_vnni", id="a server with VNNI"),
        pytest.param("x86_64", ("avx2", "fma"), "warning", "u8-asym-reduced", id="a PC without VNNI"),
        pytest.param("aarch64", ("asimd", "asimddp"), "ok", "asimddp", id="an ARM core with dot products"),
        pytest.param("aarch64", ("asimd",), "warning", "no dot products", id="an older ARM core"),
        pytest.param("riscv64", (), "ok", "no feature that is known", id="a CPU nobody knows"),
    ],
)
def test_int8_follows_from_the_features(arch: str, features: tuple[str, ...], status: str, found: str) -> None:
    check = machine_checks.check_int8(device(arch=arch, cpu_features=features))
    assert check.status == status and found in check.found


@pytest.mark.parametrize(
    ("l4t", "jetpack", "status"),
    [
        pytest.param("36.4.3", "6.2", "ok", id="JetPack 6"),
        pytest.param("35.3.1", "5.1", "warning", id="JetPack 5"),
        pytest.param("", "", "ok", id="no Jetson"),
    ],
)
def test_a_jetpack_with_too_old_a_python_is_told(l4t: str, jetpack: str, status: str) -> None:
    check = machine_checks.check_machine(device(l4t=l4t, jetpack=jetpack, power_mode="25W", board="A board"))
    assert check.status == status and "A board" in check.found and "25W" in check.found
    assert (f"JetPack {jetpack}" in check.found) == bool(l4t)


@pytest.mark.parametrize(("available", "status"), [(8 << 30, "ok"), (300 << 20, "warning")], ids=["enough", "little"])
def test_little_memory_is_a_warning(available: int, status: str) -> None:
    assert machine_checks.check_memory(device(memory_available_bytes=available)).status == status


def test_a_folder_that_does_not_exist_yet_is_judged_by_the_one_above_it(tmp_path: Path) -> None:
    check = machine_checks.check_folder("cache folder", tmp_path / "a/b")
    assert check.status == "ok" and str(tmp_path / "a/b") in check.found and "GiB free" in check.found
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_refuses_files_is_a_warning() -> None:
    check = machine_checks.check_folder("cache folder", Path("/proc/self/edgeseg"))
    assert check.status == "warning" and "can't be written to" in check.found and "-o DIR" in check.fix


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = machine_checks.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(machine_checks.shutil, "disk_usage", lambda _: usage._replace(free=5 << 20))
    check = machine_checks.check_folder("engines folder", tmp_path)
    assert check.status == "warning" and "0.0 GiB free" in check.found


def test_this_opencv_is_described() -> None:
    cv2 = pytest.importorskip("cv2")
    check = installed_checks.check_opencv()
    assert check.status == "ok" and check.found.startswith(cv2.__version__) and "FFMPEG yes" in check.found


def test_opencv_without_ffmpeg_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    without = cv2.getBuildInformation().replace("FFMPEG:                      YES", "FFMPEG:                      NO")
    assert without != cv2.getBuildInformation()
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: without)
    check = installed_checks.check_opencv()
    assert check.status == "warning" and "video files can't be read" in check.found


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(ModuleNotFoundError("No module named 'cv2'", name="cv2"), "missing", id="not installed"),
        pytest.param(ImportError("libGL.so.1: cannot open shared object file"), "fails", id="installed and broken"),
    ],
)
def test_an_opencv_that_is_not_there_says_what_to_install(
    error: ImportError, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "cv2":
                raise error

    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refuses(), *sys.meta_path])
    check = installed_checks.check_opencv()
    assert check.status == status and check.fix.startswith("pip install")


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed_checks, "_version", lambda package: "" if package == "onnxscript" else "1.0")
    check = installed_checks.check_graph_tools()
    assert check.status == "missing" and check.found.startswith("without onnxscript, which only")
    assert check.fix == "pip install 'edgeseg[onnxruntime]'"


def test_data_sets_are_looked_for_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    pytest.importorskip("PIL")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGESEG_DATA", str(tmp_path))
    before = {check.name: check for check in installed_checks.check_data()}
    assert before["data set camvid"].status == "missing" and "EDGESEG_DATA" in before["data set camvid"].fix
    (tmp_path / "camvid").mkdir()
    after = {check.name: check for check in installed_checks.check_data()}
    assert after["data set camvid"] == Check("data set camvid", "ok", str(tmp_path / "camvid"))


def test_everything_is_looked_at_and_nothing_raises() -> None:
    checks = list(examine(HERE))
    names = [check.name for check in checks]
    assert len(names) == len(set(names))
    assert {"machine", "memory", "backend openvino", "backend onnxruntime", "opencv", "cache folder"} <= set(names)
    assert all(check.fix for check in checks if check.status in ("missing", "fails"))


def test_only_backends_that_ran_count_as_working() -> None:
    checks = [
        Check("backend onnxruntime", "ok", ""),
        Check("backend openvino", "fails", ""),
        Check("opencv", "ok", ""),
    ]
    assert working_backends(checks) == ["onnxruntime"]
