"""Cameras are found by the files of Linux, and told from nodes that give no pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseg.device.cameras import Camera, holders, lasting_path, list_cameras, port_addresses, refuse_unusable
from edgeseg.errors import SourceLost
from tests.device.video import METADATA, Kernel, add_node

BY_ID = "by-id/usb-046d_HD_Pro_Webcam_C920_3F5A7B2E-video-index0"
BY_PATH = "by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["vi-output, imx219 9-0010"], ("csi://0",), id="a Jetson's"),
        pytest.param(["unicam-image", "bcm2835-isp-capture0"], ("picamera://0",), id="a Raspberry Pi's, once"),
        pytest.param(["HD Pro Webcam C920"], (), id="a USB camera is at none"),
    ],
)
def test_cameras_at_the_boards_own_ports_have_an_address(
    names: list[str], expected: tuple[str, ...], tmp_path: Path
) -> None:
    for number, name in enumerate(names):
        folder = tmp_path / f"sys/class/video4linux/video{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
    assert port_addresses(tmp_path) == expected


def test_a_camera_is_listed_once_with_its_lasting_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    second = kernel.add(add_node(tmp_path, 10, "USB 2.0 Camera"))
    first = kernel.add(add_node(tmp_path, 0, links=(BY_ID, BY_PATH)))
    kernel.add(add_node(tmp_path, 1, index=1), METADATA)
    assert list_cameras(tmp_path) == (
        Camera("HD Pro Webcam C920", first, tmp_path / "dev/v4l" / BY_ID),
        Camera("USB 2.0 Camera", second, None),
    )


def test_where_the_kernel_does_not_tell_the_first_node_of_a_camera_counts(tmp_path: Path) -> None:
    first = add_node(tmp_path, 0)
    add_node(tmp_path, 1, index=1)
    assert [camera.device for camera in list_cameras(tmp_path)] == [first]


@pytest.mark.parametrize(
    "name", ["vi-output, imx219 9-0010", "unicam-image", "bcm2835-isp-capture0", "rp1-cfe-csi2_ch0"]
)
def test_raw_nodes_of_a_boards_port_are_no_cameras(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Kernel(monkeypatch).add(add_node(tmp_path, 0, name))
    assert list_cameras(tmp_path) == ()
    with pytest.raises(SourceLost) as caught:
        refuse_unusable(device, tmp_path)
    assert ("csi://0" if name.startswith("vi-") else "picamera://0") in caught.value.hint


def test_a_machine_without_cameras_has_none(tmp_path: Path) -> None:
    assert list_cameras(tmp_path) == ()


def test_the_lasting_path_of_a_twin_is_its_port(tmp_path: Path) -> None:
    first = add_node(tmp_path, 0, links=(BY_ID, BY_PATH))
    twin = add_node(tmp_path, 2, links=(BY_ID, BY_PATH.replace(":1:", ":2:")))
    assert lasting_path(twin) == tmp_path / "dev/v4l" / BY_ID
    assert lasting_path(first) == tmp_path / "dev/v4l" / BY_PATH
    assert lasting_path(tmp_path / "dev/video7") is None


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A device, and the number of another program that has it open."""
    device = add_node(tmp_path, 0)
    code = f"import sys; file = open({str(device)!r}); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield device, process.pid
        process.communicate()


def test_a_camera_in_use_is_told_with_its_program(holder: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    device, number = holder
    Kernel(monkeypatch).add(device, busy=True)
    assert f"(process {number})" in " ".join(holders(device))
    with pytest.raises(SourceLost, match=rf"in use by python.* \(process {number}\)"):
        refuse_unusable(device)


def test_a_camera_in_use_by_another_user_is_told_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Kernel(monkeypatch).add(add_node(tmp_path, 0), busy=True)
    with pytest.raises(SourceLost, match="in use by another program"):
        refuse_unusable(device)


def test_a_camera_that_may_not_be_opened_is_told_with_its_group(tmp_path: Path) -> None:
    device = add_node(tmp_path, 0)
    device.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(SourceLost, match="may not open") as caught:
            refuse_unusable(device)
    finally:
        os.seteuid(user)
    assert "sudo usermod -aG video $USER" in caught.value.hint


@pytest.mark.parametrize(
    ("device", "told"),
    [
        pytest.param("/dev/null", "/dev/null is no camera", id="another device"),
        pytest.param("dev/video7", "There is no camera at", id="a number that is not there"),
        pytest.param("dev/video1", "gives no pictures", id="a camera's node for other data"),
    ],
)
def test_what_is_no_camera_is_refused_with_those_that_are(
    device: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(monkeypatch)
    found = kernel.add(add_node(tmp_path, 0))
    kernel.add(add_node(tmp_path, 1, index=1), METADATA)
    with pytest.raises(SourceLost, match=told) as caught:
        refuse_unusable(tmp_path / device, tmp_path)
    assert f"{found} (HD Pro Webcam C920)" in caught.value.hint and "video1" not in caught.value.hint


def test_a_camera_that_can_be_opened_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_unusable(Kernel(monkeypatch).add(add_node(tmp_path, 0)), tmp_path)
