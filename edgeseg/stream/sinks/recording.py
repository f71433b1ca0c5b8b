"""The file of a recording while it grows: locked, beside its final place, and found again after a kill."""

from __future__ import annotations

import errno
import fcntl
import itertools
import logging
import os
from pathlib import Path

from edgeseg.errors import EdgesegError
from edgeseg.files import move_into_place

__all__ = ["Recording"]

logger = logging.getLogger(__name__)

#: A file of fewer bytes is a header without a picture.
SMALLEST = 1024


class Recording:
    """A file that takes its place once it is finished.

    Until then it lies beside it as `out.recording.mp4`, locked for one process at a time. What a process left there
    that was killed becomes `out.cut-off-1.mp4` when the next one begins.

    Attributes:
        path: Where it belongs.
        part: Where it grows.
    """

    def __init__(self, path: Path) -> None:
        """Make the file, without anything in it that counts.

        Raises:
            EdgesegError: Another process is recording to `path`.
            OSError: No file can be made there.
        """
        self.path = path
        self.part = path.with_name(f"{path.stem}.recording{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self._lock = _locked(self.part, path)
            size = _size_if_still_there(self.part, self._lock)
            if size is None:
                os.close(self._lock)
            elif size < SMALLEST:
                return
            else:
                self.cut_off("was left by a process that was killed or lost its power")

    def sync(self) -> None:
        """Wait until what was written so far is on disk.

        Raises:
            OSError: It can't be written, or somebody has removed the file.
        """
        if not os.fstat(self._lock).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "somebody has removed it", str(self.part))
        os.fdatasync(self._lock)

    def finish(self) -> None:
        """Put the file into its place, and end the lock."""
        try:
            move_into_place(self.part, self.path)
        finally:
            os.close(self._lock)

    def discard(self) -> None:
        """Remove the file, and end the lock."""
        self.part.unlink(missing_ok=True)
        os.close(self._lock)

    def cut_off(self, reason: str) -> Path:
        """Keep the file under a name that says that its end is missing, and end the lock."""
        names = (self.path.with_name(f"{self.path.stem}.cut-off-{n}{self.path.suffix}") for n in itertools.count(1))
        kept = next(name for name in names if not name.exists())
        self.part.rename(kept)
        os.close(self._lock)
        logger.warning("A recording to %s %s: it is kept as %s.", self.path, reason, kept)
        return kept


def _size_if_still_there(part: Path, handle: int) -> int | None:
    """Bytes of the file; None where its owner has put it into its place between our opening and locking it."""
    try:
        there = os.path.samestat(os.fstat(handle), part.stat())
    except FileNotFoundError:
        return None
    return os.fstat(handle).st_size if there else None


def _locked(part: Path, path: Path) -> int:
    """A handle on the file, which is locked until it is closed."""
    handle = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if not isinstance(error, BlockingIOError):
            raise
        raise EdgesegError(
            f"Another process is recording to {path} at this time.", hint="Name another file, or end that process."
        ) from None
    return handle
