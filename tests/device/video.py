"""Files of a machine with cameras, and what its kernel answers: there is no camera where tests run."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from edgeseg.device import cameras

CAPTURE, METADATA = 0x04200001, 0x04A00000


def add_node(
    root: Path, number: int, name: str = "HD Pro Webcam C920", *, index: int = 0, links: tuple[str, ...] = ()
) -> Path:
    """Add `/dev/video<number>` with its entry in sysfs, and links such as `by-id/usb-046d_C920-video-index0`."""
    node, device = root / f"sys/class/video4linux/video{number}", root / f"dev/video{number}"
    node.mkdir(parents=True)
    (node / "name").write_text(f"{name}\n")
    (node / "index").write_text(f"{index}\n")
    device.parent.mkdir(exist_ok=True)
    device.touch()
    for link in links:
        path = root / "dev/v4l" / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(f"../../video{number}")
    return device


class Kernel:
    """Answers the two requests to video devices as Linux does; files without an answer are no video devices."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._capabilities: dict[Path, int] = {}
        self._busy: set[Path] = set()
        monkeypatch.setattr(fcntl, "ioctl", self._answer)

    def add(self, device: Path, capability: int = CAPTURE, *, busy: bool = False) -> Path:
        self._capabilities[device] = capability
        if busy:
            self._busy.add(device)
        return device

    def _answer(self, handle: int, request: int, argument: bytes) -> bytes:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if path not in self._capabilities:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        if request == cameras.REQUEST_BUFFERS:
            if path in self._busy:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            return argument
        assert (request, len(argument)) == (cameras.QUERY_CAPABILITY, 104)
        whole, node = CAPTURE | METADATA | 0x80000000, self._capabilities[path]
        return cameras.CAPABILITY.pack(b"uvcvideo", b"HD Pro Webcam C920", b"usb-0000:00:14.0-1", 0x60600, whole, node)
