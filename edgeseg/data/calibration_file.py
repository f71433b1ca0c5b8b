"""Calibration sets as files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import msgspec

from edgeseg.data.uri import local_path, split_scheme
from edgeseg.files import write_bytes

__all__ = ["CalibrationSet", "source_beside", "write_set"]

Count = Annotated[int, msgspec.Meta(ge=1)]
Numbers = Annotated[tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(min_length=1)]
#: Numbers in a line of a written file.
ROW = 16


class CalibrationSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `calibration/*.toml` file.

    Attributes:
        source: As for `open_frames`; a path counts from the data set's folder, or else from the file's own.
        frames: How many are chosen, evenly spaced; all without it.
        every: Only each n-th frame is open to choice.
        numbers: The places of the chosen frames in the source, from 0 and rising, in place of `frames` and `every`.
        data: A data set known by name that holds `source`.
        sha256: `FrameSet.sha256` of the choice; frames that give another hash are refused.
    """

    source: str
    frames: Count | None = None
    every: Count = 1
    numbers: Numbers | None = None
    data: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse two choices in one."""
        numbers = self.numbers or ()
        if numbers and (self.frames is not None or self.every != 1):
            raise ValueError("the frames are chosen by numbers, or by frames and every, not by both")
        if list(numbers) != sorted(set(numbers)):
            raise ValueError("numbers must rise")


def source_beside(source: str, toml: Path) -> str:
    """A source as a calibration set at `toml` names it: a local path relative to the file, a URI as it is."""
    path = local_path(source) if split_scheme(source)[0] in ("", "file") else None
    if path is None:
        return source
    # Links in the folders above are followed, because `..` in a path follows them too.
    full = path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name
    return os.path.relpath(full, toml.parent.resolve())


def write_set(path: Path, spec: CalibrationSet, comment: str) -> None:
    """Write a calibration set by numbers, whole or not at all, below a line that says what made it."""
    numbers = [str(number) for number in spec.numbers or ()]
    rows = [", ".join(numbers[start : start + ROW]) for start in range(0, len(numbers), ROW)]
    lines = [
        f"# {' '.join(comment.split())}",
        f"source = {json.dumps(spec.source, ensure_ascii=False)}",
        "numbers = [",
        *(f"    {row}," for row in rows),
        "]",
        f'sha256 = "{spec.sha256}"',
    ]
    write_bytes(path, ("\n".join(lines) + "\n").encode())
