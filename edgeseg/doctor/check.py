"""What a look at one thing found."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgeseg.errors import EdgesegError

__all__ = ["Check", "first_line"]


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        status: `ok`; `warning`, works with a drawback; `missing`, not installed; `fails`, installed and broken.
        found: What there is, in a few words.
        fix: What to type or change; empty where nothing is to be done.
    """

    name: str
    status: Literal["ok", "warning", "missing", "fails"]
    found: str
    fix: str = ""


def first_line(error: BaseException) -> str:
    """An error of any kind in one line, for the report."""
    text = error.message if isinstance(error, EdgesegError) else f"{type(error).__name__}: {error}"
    return text.strip().split("\n")[0]
