"""PyGObject of the system, for tests in a virtual environment that does not see it."""

from __future__ import annotations

import os
import sys

import pytest

from edgeseg.device.gstreamer import load_gstreamer
from edgeseg.errors import MissingDependency

#: Where Debian has it.
SYSTEM_PACKAGES = "/usr/lib/python3/dist-packages"


@pytest.fixture
def gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    """GStreamer with its RTSP server, or the test is skipped."""
    monkeypatch.setattr(sys, "path", [*sys.path, SYSTEM_PACKAGES])
    try:
        load_gstreamer("GstVideo", "GstRtspServer", "GLib")
    except MissingDependency as error:
        pytest.skip(error.message)


def held() -> tuple[int, int]:
    """How many threads and descriptors this process has. GLib keeps a few threads of each kind for its next task."""
    threads, descriptors = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("task", "fd"))
    return threads, descriptors
