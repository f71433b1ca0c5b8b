"""Cameras that Video4Linux knows, and why one of them can't be opened. Nothing is changed on them."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import SourceLost

__all__ = ["Camera", "holders", "lasting_path", "list_cameras", "port_addresses", "refuse_unusable"]

#: Requests of <linux/videodev2.h>, the same on all machines that Linux runs on today.
QUERY_CAPABILITY, REQUEST_BUFFERS = 0x80685600, 0xC0145608
CAPABILITY = struct.Struct("16s32s32sIII12x")
BUFFERS = struct.Struct("IIIII")
CAPTURES, CAPTURES_PLANES, TELLS_NODE = 0x1, 0x1000, 0x80000000
CAPTURE_TYPE, MAPPED_MEMORY = 1, 1
#: Nodes of a board's own camera port, by the start of their name, and the address that gives its pictures. What they
#: give themselves is raw, or meant for the board's image processor.
PORTS = {
    "vi-output": "csi://0",
    "unicam": "picamera://0",
    "rp1-cfe": "picamera://0",
    "bcm2835-": "picamera://0",
    "pispbe": "picamera://0",
}


@dataclass(frozen=True)
class Camera:
    """A camera that gives pictures by itself, as USB cameras do.

    Attributes:
        name: As its driver tells it.
        device: `/dev/video0`; another number may be its after it was plugged in again.
        lasting: Path that stays its own, below `/dev/v4l/by-id` or `by-path`; None where udev made none.
    """

    name: str
    device: Path
    lasting: Path | None


def list_cameras(root: Path = Path("/")) -> tuple[Camera, ...]:
    """The cameras of this machine, by the number of their device.

    Args:
        root: Folder that holds `sys` and `dev`.
    """
    nodes = sorted(root.glob("sys/class/video4linux/video*"), key=lambda node: int(re.sub(r"\D", "", node.name) or 0))
    cameras = []
    for node in nodes:
        name, device = _read(node / "name"), root / "dev" / node.name
        if device.exists() and _port(name) is None and _captures(device, _read(node / "index")):
            cameras.append(Camera(name, device, lasting_path(device)))
    return tuple(cameras)


def port_addresses(root: Path = Path("/")) -> tuple[str, ...]:
    """Addresses of cameras at the board's own ports, such as `csi://0`, as far as Video4Linux shows them.

    Args:
        root: Folder that holds `sys`.
    """
    names = (_read(node / "name") for node in sorted(root.glob("sys/class/video4linux/video*")))
    return tuple(dict.fromkeys(address for name in names if (address := _port(name)) is not None))


def lasting_path(device: Path) -> Path | None:
    """A path to `/dev/video0` that stays the same when it is plugged in again: by its serial number, else by its port.

    Two cameras without serial numbers share one such name; the one that it does not lead to has that of its port alone.
    """
    links = (link for kind in ("by-id", "by-path") for link in sorted((device.parent / "v4l" / kind).glob("*")))
    return next((link for link in links if link.resolve() == device.resolve()), None)


def refuse_unusable(device: Path, root: Path = Path("/")) -> None:
    """Look whether a camera can be opened, before a library waits for it in vain.

    Raises:
        SourceLost: There is none, this user may not open it, another program has it, or it is no camera.
    """
    try:
        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        raise _refusal(device, error, root) from error
    try:
        if not _node_captures(handle):
            name = _name_of(device, root)
            raise SourceLost(f"{device}{f' of {name}' if name else ''} gives no pictures.", hint=_found(root))
        # Many may open a camera, one may have its buffers: to ask for none of them tells, and changes nothing.
        fcntl.ioctl(handle, REQUEST_BUFFERS, BUFFERS.pack(0, CAPTURE_TYPE, MAPPED_MEMORY, 0, 0))
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.EACCES, errno.EPERM, errno.ENODEV):
            raise _refusal(device, error, root) from error
        if error.errno == errno.ENOTTY:
            raise SourceLost(f"{device} is no camera.", hint=_found(root)) from error
    finally:
        os.close(handle)
    port = _port(_name_of(device, root))
    if port is not None:
        raise SourceLost(f"{device} is the raw end of the board's camera port.", hint=f"Its pictures come by {port}.")


def holders(device: Path, root: Path = Path("/")) -> list[str]:
    """Programs that have a device open, such as `cheese (process 4711)`; those of other users are not told."""
    found = []
    for process in sorted(root.glob("proc/[0-9]*"), key=lambda folder: int(folder.name)):
        try:
            opened = {os.readlink(link) for link in (process / "fd").iterdir()}
        except OSError:
            continue
        if str(device.resolve()) in opened:
            found.append(f"{_read(process / 'comm') or 'a program'} (process {process.name})")
    return found


def _refusal(device: Path, error: OSError, root: Path) -> SourceLost:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR):
        return SourceLost(f"There is no camera at {device}.", hint=_found(root))
    if error.errno in (errno.EACCES, errno.EPERM):
        return SourceLost(
            f"This user may not open {device}.", hint="sudo usermod -aG video $USER, then log out and in again."
        )
    if error.errno == errno.EBUSY:
        who = ", ".join(name for name in holders(device, root) if f"(process {os.getpid()})" not in name)
        return SourceLost(
            f"{device} is in use by {who or 'another program'}.", hint="End that program, or use another camera."
        )
    return SourceLost(f"{device} can't be opened: {error.strerror}.", hint=_found(root))


def _found(root: Path) -> str:
    told = ", ".join(f"{camera.device} ({camera.name})" for camera in list_cameras(root))
    return f"Cameras found: {told}." if told else "No camera was found. Is it plugged in? Try: v4l2-ctl --list-devices"


def _name_of(device: Path, root: Path) -> str:
    return _read(root / "sys/class/video4linux" / device.resolve().name / "name")


def _port(name: str) -> str | None:
    return next((address for start, address in PORTS.items() if name.startswith(start)), None)


def _captures(device: Path, index: str) -> bool:
    """Whether pictures come from a node; one that can't be opened is judged by its place among its camera's nodes."""
    try:
        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return index in ("", "0")
    try:
        return _node_captures(handle)
    except OSError:
        return index in ("", "0")
    finally:
        os.close(handle)


def _node_captures(handle: int) -> bool:
    *_, whole, node = CAPABILITY.unpack(fcntl.ioctl(handle, QUERY_CAPABILITY, bytes(CAPABILITY.size)))
    return bool((node if whole & TELLS_NODE else whole) & (CAPTURES | CAPTURES_PLANES))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
