"""What goes into and comes out of GStreamer's pipelines: pictures in its memory, without a copy in between."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.device.gstreamer import load_gstreamer

__all__ = ["buffer_bytes", "bus_error"]

UInt8 = npt.NDArray[np.uint8]
READ, WRITE = 1, 2


class _Map(ctypes.Structure):
    """`GstMapInfo`."""

    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("maxsize", ctypes.c_size_t),
        ("user_data", ctypes.c_void_p * 4),
        ("reserved", ctypes.c_void_p * 4),
    )


@contextlib.contextmanager
def buffer_bytes(buffer: Any, *, write: bool = False) -> Iterator[UInt8]:
    """The `(N,)` uint8 bytes of a `Gst.Buffer` where they lie, valid in the block alone.

    PyGObject's own way to them copies them, which takes longer than the copy into a frame.

    Raises:
        MemoryError: The buffer's memory can't be reached by the processor.
    """
    library = _library()
    address, info = ctypes.c_void_p(hash(buffer)), _Map()  # The hash of PyGObject's structures is their address.
    if not library.gst_buffer_map(address, ctypes.byref(info), WRITE if write else READ):
        raise MemoryError("A buffer of GStreamer could not be mapped.")
    try:
        yield np.frombuffer((ctypes.c_uint8 * info.size).from_address(info.data), np.uint8)
    finally:
        library.gst_buffer_unmap(address, ctypes.byref(info))


def bus_error(pipeline: Any) -> str:
    """The oldest error that a pipeline told and nobody took, in one line; empty where there is none."""
    (gst,) = load_gstreamer()
    message = pipeline.get_bus().pop_filtered(gst.MessageType.ERROR)
    if message is None:
        return ""
    error, details = message.parse_error()
    last = details.strip().splitlines()[-1] if details else ""
    return " ".join(f"{error.message} {last}".split()).rstrip(".")


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libgstreamer-1.0.so.0")
    library.gst_buffer_map.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    library.gst_buffer_map.restype = ctypes.c_int
    library.gst_buffer_unmap.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    library.gst_buffer_unmap.restype = None
    return library
