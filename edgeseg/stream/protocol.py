"""What is said between a camera's process and who started it: one line of JSON each."""

from __future__ import annotations

import msgspec

__all__ = ["GO", "TAKEN", "Ended", "Failed", "Frame", "Message", "Opened", "Request"]


class Request(msgspec.Struct, frozen=True):
    """What to read; the first line to the camera's process. Not on its command line, where all users see passwords.

    Attributes:
        uri: Of the source.
        first: Number of the first frame.
        loop: A file begins anew at its end.
        paced: A file is played at its own pace, as a camera would give it.
        waits: Each frame waits until it was taken.
        frozen_s: After so many seconds of one picture it is called frozen.
    """

    uri: str
    first: int
    loop: bool = False
    paced: bool = False
    waits: bool = False
    frozen_s: float = 5.0


#: What follows the request: the first frame is wanted, and a frame was taken.
GO, TAKEN = b"g", b"."


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The camera is open. Attributes as of `Source`."""

    name: str
    fps: float
    frame_hw: tuple[int, int] | None
    total: int | None
    notes: tuple[str, ...]


class Frame(msgspec.Struct, frozen=True, tag="frame"):
    """There is a frame in the mailbox.

    Attributes:
        sequence: Its number.
        frozen: Its picture has been the same for long.
    """

    sequence: int
    frozen: bool


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The source has no more frames."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Why there are no more frames: the message, hint and exit code of an error."""

    message: str
    hint: str
    exit_code: int


Message = Opened | Frame | Ended | Failed
