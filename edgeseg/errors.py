"""The errors of edgeseg, each with the exit code that the command line ends with.

EdgesegError (1)
├── UsageError (2)            an option, a recipe or labels that do not fit
├── MissingDependency (3)     a package, driver or device that this machine lacks
├── ModelFileError (4)        a model file that is bad, untrusted or of another graph
├── EngineMismatch (5)        an engine that does not fit this machine or fails its self-test
├── SourceLost (6)            frames stopped coming
└── GateFailed (7)            measured, and not good enough
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "EdgesegError",
    "EngineMismatch",
    "GateFailed",
    "MissingDependency",
    "ModelFileError",
    "SourceLost",
    "UsageError",
    "nearest",
]


class EdgesegError(Exception):
    """Something failed.

    Attributes:
        hint: What to type or change next.
        report: What was found out before it failed; `--json` prints it with the error.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.report: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(EdgesegError):
    """An option, a recipe or a set of labels does not fit what was asked."""

    exit_code = 2


class MissingDependency(EdgesegError):
    """This machine lacks a package, a driver or a device."""

    exit_code = 3


class ModelFileError(EdgesegError):
    """A model file is damaged, untrusted, or belongs to another graph."""

    exit_code = 4


class EngineMismatch(EdgesegError):
    """An engine does not fit this machine, or does not compute what was measured."""

    exit_code = 5


class SourceLost(EdgesegError):
    """A source of frames could not be opened, or ended before it should."""

    exit_code = 6


class GateFailed(EdgesegError):
    """An engine was measured and is not good enough to be kept."""

    exit_code = 7


def nearest(word: str, possible: Iterable[str]) -> str:
    """A sentence that names the likeliest meant words, or all that are possible."""
    names = sorted(possible)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(f"'{name}'" for name in close) + "?"
    return "Possible: " + ", ".join(names) + "."
