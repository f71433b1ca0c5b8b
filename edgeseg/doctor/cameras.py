"""Checks of what cameras, and the ways to watch them, need."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from edgeseg.device import Device
from edgeseg.device.cameras import list_cameras, refuse_unusable
from edgeseg.device.gstreamer import load_gstreamer, missing_elements
from edgeseg.doctor.check import Check, first_line
from edgeseg.errors import MissingDependency, SourceLost

__all__ = ["check_cameras", "check_gstreamer", "check_picamera2", "check_windows", "examine_cameras"]

#: Elements of GStreamer that are looked for: what needs them, and what installs them.
ARGUS = ("nvarguscamerasrc", "nvvidconv")
ENCODERS = ("nvv4l2h264enc", "x264enc", "openh264enc")


def examine_cameras(device: Device, root: Path = Path("/")) -> Iterator[Check]:
    """Look at the cameras and at the libraries that this machine's kinds of cameras need."""
    yield check_cameras(root)
    yield check_gstreamer(jetson=bool(device.l4t))
    if device.board.startswith("Raspberry Pi"):
        yield check_picamera2()
    yield check_windows()


def check_cameras(root: Path = Path("/")) -> Check:
    """Which cameras there are, and whether this user may open them."""
    cameras = list_cameras(root)
    told, lost = [], []
    for camera in cameras:
        told.append(f"{camera.device} ({camera.name})")
        try:
            refuse_unusable(camera.device, root)
        except SourceLost as error:
            lost.append(error)
    if lost:
        found = " ".join(error.message for error in lost)
        return Check("cameras", "fails" if len(lost) == len(cameras) else "warning", found, lost[0].hint)
    return Check("cameras", "ok", ", ".join(told) or "none at /dev/video*")


def check_gstreamer(*, jetson: bool = False) -> Check:
    """Whether Python has GStreamer, which a Jetson's camera port and the RTSP server need.

    Args:
        jetson: Look for NVIDIA's part as well.
    """
    try:
        gst = load_gstreamer("GstVideo", "GstRtspServer", "GLib")[0]
        absent, encoders = missing_elements(ARGUS if jetson else ()), missing_elements(ENCODERS)
    except MissingDependency as error:
        return Check("gstreamer", "missing", first_line(error), error.hint)
    version = str(gst.version_string())
    if absent:
        found = f"{version} without {', '.join(absent)}, which csi:// needs"
        return Check("gstreamer", "fails", found, "sudo apt install nvidia-l4t-gstreamer")
    if len(encoders) == len(ENCODERS):
        found = f"{version} without an H.264 encoder, which serving rtsp:// needs"
        return Check("gstreamer", "warning", found, "sudo apt install gstreamer1.0-plugins-ugly")
    return Check("gstreamer", "ok", version)


def check_picamera2() -> Check:
    """Whether Python has picamera2, which a Raspberry Pi's camera port needs."""
    if importlib.util.find_spec("picamera2") is not None:
        return Check("picamera2", "ok", "seen by this Python")
    fix = "sudo apt install python3-picamera2, and a venv made by: python3 -m venv --system-site-packages VENV"
    return Check("picamera2", "missing", "not seen by this Python, and picamera:// needs it", fix)


def check_windows() -> Check:
    """Whether OpenCV can open windows, which its headless packages can't."""
    try:
        import cv2
    except ImportError as error:
        return Check("windows", "missing", first_line(error), "pip install 'edgeseg[vision]'")
    match = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    if match is None or match[1] in ("NO", "NONE"):
        fix = "pip uninstall opencv-python-headless && pip install opencv-python, or watch in a browser"
        return Check("windows", "missing", "this OpenCV is headless, and display:// needs windows", fix)
    return Check("windows", "ok", match[1])
