"""What doctor tells of cameras and of the libraries that they need."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import msgspec
import pytest

from edgeseg.device import describe_device
from edgeseg.doctor import cameras
from tests.device.video import METADATA, Kernel, add_node
from tests.stream.system_gi import gstreamer

__all__ = ["gstreamer"]


def test_cameras_are_listed_with_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    assert cameras.check_cameras(tmp_path).found == "none at /dev/video*"
    device = kernel.add(add_node(tmp_path, 2))
    kernel.add(add_node(tmp_path, 3, index=1), METADATA)
    check = cameras.check_cameras(tmp_path)
    assert (check.status, check.found) == ("ok", f"{device} (HD Pro Webcam C920)")


@pytest.mark.parametrize(
    ("others", "status"), [pytest.param(0, "fails", id="the only one"), pytest.param(1, "warning", id="one of two")]
)
def test_a_camera_in_use_is_told(others: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    device = kernel.add(add_node(tmp_path, 0), busy=True)
    for number in range(1, 1 + others):
        kernel.add(add_node(tmp_path, number))
    check = cameras.check_cameras(tmp_path)
    assert check.status == status and f"{device} is in use" in check.found and check.fix


def test_without_gstreamer_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    check = cameras.check_gstreamer()
    assert check.status == "missing" and "sudo apt install python3-gi" in check.fix


@pytest.mark.usefixtures("gstreamer")
def test_gstreamer_is_told_by_its_version_and_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    check = cameras.check_gstreamer()
    assert check.status == "ok" and check.found.startswith("GStreamer 1.")
    monkeypatch.setattr(cameras, "ARGUS", ("nosuchcamera",))
    check = cameras.check_gstreamer(jetson=True)
    assert check.status == "fails" and "without nosuchcamera" in check.found and "nvidia-l4t" in check.fix
    monkeypatch.setattr(cameras, "ENCODERS", ("nosuchencoder",))
    check = cameras.check_gstreamer()
    assert check.status == "warning" and "H.264" in check.found and "plugins-ugly" in check.fix


@pytest.mark.parametrize(("gui", "status"), [("NONE", "missing"), ("NO", "missing"), ("GTK3", "ok"), ("QT5", "ok")])
def test_headless_opencv_is_told(gui: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: f"General configuration\n\n  GUI:      {gui}\n")
    check = cameras.check_windows()
    assert check.status == status and (status == "ok") == (check.fix == "")


@pytest.mark.parametrize(("board", "looks"), [("Raspberry Pi 5 Model B Rev 1.0", True), ("", False)])
def test_picamera2_is_looked_for_on_a_raspberry_pi(
    board: str, looks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = msgspec.structs.replace(describe_device(), board=board, l4t="")
    monkeypatch.setattr(cameras.importlib.util, "find_spec", lambda name: None)
    checks = {check.name: check for check in cameras.examine_cameras(device, tmp_path)}
    assert set(checks) == {"cameras", "gstreamer", "windows"} | ({"picamera2"} if looks else set())
    if looks:
        assert "python3-picamera2" in checks["picamera2"].fix
        monkeypatch.setattr(cameras.importlib.util, "find_spec", lambda name: types.SimpleNamespace(name=name))
        assert cameras.check_picamera2().status == "ok"
