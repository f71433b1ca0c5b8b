"""The one place where frames get to the network's size, and class maps back into the camera's coordinates."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.card import Preprocess, Resize
from edgeseg.errors import UsageError
from edgeseg.labels import VOID
from edgeseg.windows import PADDING, Window, windows_of

__all__ = ["frame_for_card", "resize_frame", "restore_class_map", "shown_window"]

UInt8 = npt.NDArray[np.uint8]

_INTERPOLATION = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "nearest": cv2.INTER_NEAREST_EXACT}
#: From a frame's channels to an engine's pixel format.
_CONVERSION = {
    (3, "rgb"): cv2.COLOR_BGR2RGB,
    (3, "bgrx"): cv2.COLOR_BGR2BGRA,
    (4, "rgb"): cv2.COLOR_BGRA2RGB,
    (4, "bgr"): cv2.COLOR_BGRA2BGR,
}


def frame_for_card(frame: UInt8, preprocess: Preprocess, out: UInt8) -> UInt8:
    """Put a camera's frame into a session's input buffer: at its size and in its pixel format.

    Args:
        frame: `(H, W, 3)` uint8 BGR or `(H, W, 4)` BGRx, any size.
        preprocess: Of the engine's card.
        out: `(h, w, 3)` uint8, or `(h, w, 4)` for `bgrx`; one slot of `Session.input_buffer()`.

    Returns:
        `out`. Nothing is allocated where frame and engine have one format; else it takes one small frame.

    Raises:
        UsageError: The frame is no BGR frame, or `out` does not have the format's channels.
    """
    channels = 4 if preprocess.pixel_format == "bgrx" else 3
    if out.ndim != 3 or out.shape[2] != channels:
        raise UsageError(f"The buffer is {out.shape}; {preprocess.pixel_format} frames are (h, w, {channels}).")
    if (frame.shape[-1], preprocess.pixel_format) in ((3, "bgr"), (4, "bgrx")):
        return resize_frame(frame, (out.shape[0], out.shape[1]), preprocess.resize, out)
    small = resize_frame(frame, (out.shape[0], out.shape[1]), preprocess.resize)
    cv2.cvtColor(small, _CONVERSION[frame.shape[2], preprocess.pixel_format], dst=out)
    return out


def resize_frame(frame: UInt8, size_hw: tuple[int, int], resize: Resize, out: UInt8 | None = None) -> UInt8:
    """The frame at the network's size.

    Args:
        frame: `(H, W, 3)` or `(H, W, 4)` uint8.
        size_hw: Height and width of the network's input, pixels.
        resize: How; padding of `letterbox` is 128.
        out: `(h, w, 3)` or `(h, w, 4)` uint8 to write into; without it a new array is made.

    Returns:
        `(h, w, 3)` or `(h, w, 4)` uint8, in the frame's channel order.

    Raises:
        UsageError: The frame is no such array with pixels in it, or `out` has another shape.
    """
    if frame.ndim != 3 or frame.shape[2] not in (3, 4) or frame.dtype != np.uint8 or frame.size == 0:
        raise UsageError(f"Frames are uint8 (H, W, 3); this one is {frame.dtype} {frame.shape}.")
    out = _buffer((*size_hw, frame.shape[2]), out)
    inside, target = windows_of((frame.shape[0], frame.shape[1]), size_hw, resize.mode)
    target.fill_outside(out, PADDING)
    _scale(inside.of(frame), target.of(out), _INTERPOLATION[resize.interpolation])
    return out


def restore_class_map(class_map: UInt8, frame_hw: tuple[int, int], resize: Resize, out: UInt8 | None = None) -> UInt8:
    """The class map in the coordinates of the frame that `resize_frame` was given.

    Args:
        class_map: `(h, w)` uint8 class indices at the network's size.
        frame_hw: Height and width of the camera's frame, pixels.
        resize: As the frame was resized.
        out: `(H, W)` uint8 to write into; without it a new array is made.

    Returns:
        `(H, W)` uint8 class indices by nearest neighbour; 255 where the network never saw the frame.

    Raises:
        UsageError: The class map is no `(h, w)` uint8 array, or `out` has another shape than the frame.
    """
    if class_map.ndim != 2 or class_map.dtype != np.uint8 or class_map.size == 0:
        raise UsageError(f"Class maps are uint8 (h, w); this one is {class_map.dtype} {class_map.shape}.")
    out = _buffer(frame_hw, out)
    inside, target = windows_of(frame_hw, (class_map.shape[0], class_map.shape[1]), resize.mode)
    inside.fill_outside(out, VOID)
    _scale(target.of(class_map), inside.of(out), cv2.INTER_NEAREST_EXACT)
    return out


def shown_window(frame_hw: tuple[int, int], size_hw: tuple[int, int], resize: Resize) -> Window:
    """The part of the network's input that shows the frame: all of it but the padding of `letterbox`."""
    return windows_of(frame_hw, size_hw, resize.mode)[1]


def _buffer(shape: tuple[int, ...], out: UInt8 | None) -> UInt8:
    if out is None:
        return np.empty(shape, np.uint8)
    if out.shape != shape or out.dtype != np.uint8:
        raise UsageError(f"The array to write to is {out.dtype} {out.shape}; uint8 {shape} is needed.")
    return out


def _scale(source: UInt8, target: UInt8, interpolation: int) -> None:
    if source.shape == target.shape:
        np.copyto(target, source)
    else:
        cv2.resize(source, (target.shape[1], target.shape[0]), dst=target, interpolation=interpolation)
