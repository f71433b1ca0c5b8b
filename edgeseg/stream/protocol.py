"""What the process of a camera tells: one line of JSON each."""

from __future__ import annotations

import msgspec

__all__ = ["Ended", "Failed", "Frame", "Message", "Opened"]


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The camera is open. Attributes as of `Source`."""

    name: str
    fps: float
    frame_hw: tuple[int, int] | None
    total: int | None


class Frame(msgspec.Struct, frozen=True, tag="frame"):
    """There is a frame in the mailbox."""

    sequence: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The source has no more frames."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Why there are no more frames: the message, hint and exit code of an error."""

    message: str
    hint: str
    exit_code: int


Message = Opened | Frame | Ended | Failed
