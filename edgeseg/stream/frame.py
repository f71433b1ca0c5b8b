"""One frame through a session."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeseg.backends.session import Session
from edgeseg.data.resize import frame_for_card, restore_class_map

__all__ = ["segment_frame"]

UInt8 = npt.NDArray[np.uint8]


def segment_frame(session: Session, frame: UInt8, out: UInt8 | None = None) -> UInt8:
    """The class map of a camera's frame, waited for.

    Args:
        session: For class maps, of one frame at a time.
        frame: `(H, W, 3)` uint8 BGR or `(H, W, 4)` BGRx, any size.
        out: `(H, W)` uint8 to write into; without it a new array is made.

    Returns:
        `(H, W)` uint8 class indices in the frame's coordinates; 255 where the network never saw the frame.

    Raises:
        UsageError: The frame is no such array, or `out` has another shape.
        EdgesegError: The session failed, or has other frames under way.
    """
    preprocess = session.card.preprocess
    frame_for_card(frame, preprocess, session.input_buffer()[0])
    small = np.asarray(session.submit().result()[0], np.uint8)
    return restore_class_map(small, (frame.shape[0], frame.shape[1]), preprocess.resize, out)
