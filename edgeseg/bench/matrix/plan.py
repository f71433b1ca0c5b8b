"""What a matrix holds: which models, sizes, precisions, backends and threads."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgeseg.bench.record import Settings
from edgeseg.card import Precision
from edgeseg.errors import UsageError
from edgeseg.files import sha256_bytes, write_bytes

__all__ = ["Cell", "Plan", "cells", "keep_plan"]

FILE = "matrix.json"
#: What has to be the same for a matrix to go on, and what it is called.
WHAT = {"cells": "engines", "settings": "settings", "rounds": "rounds", "models": "content of the models"}


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One engine of a matrix.

    Attributes:
        model: A shipped model, an ONNX file, or a checkpoint.
        size_hw: Height and width of the network's input; None is the model's own.
        threads: Of the engine; None is all cores.
    """

    model: str
    size_hw: tuple[int, int] | None
    precision: Precision
    backend: str
    threads: int | None

    @property
    def name(self) -> str:
        """Unique in a matrix."""
        size = "{}x{}".format(*self.size_hw) if self.size_hw else ""
        threads = "" if self.threads is None else "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return " ".join(filter(None, (self.model, size, self.precision, self.backend, threads)))

    @property
    def folder(self) -> str:
        """Name of the folder that holds what belongs to it."""
        stem = re.sub(r"[^\w.-]+", "-", self.name.replace(self.model, Path(self.model).stem))
        return f"{stem}-{sha256_bytes(self.name.encode())[:8]}"


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole matrix.

    Attributes:
        settings: Of each engine over all rounds.
        rounds: Each engine is measured so often, all others between.
        command: What measures it again.
        models: Hashes of the models that are files, by the name that was given.
    """

    cells: tuple[Cell, ...]
    settings: Settings
    rounds: int
    command: str
    models: dict[str, str]


def cells(
    models: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    precisions: Sequence[Precision],
    backends: Sequence[str],
    threads: Sequence[int],
) -> tuple[Cell, ...]:
    """Every combination, each once; no size is the model's own, no number of threads all cores."""
    every = itertools.product(models, sizes or (None,), precisions, backends, threads or (None,))
    found = (
        Cell(model=model, size_hw=size, precision=precision, backend=backend, threads=count)
        for model, size, precision, backend, count in every
    )
    return tuple(dict.fromkeys(found))


def keep_plan(plan: Plan, folder: Path) -> None:
    """Write a plan into its folder, or find that it is the one that was begun there.

    Raises:
        UsageError: Another one was begun there.
    """
    path = folder / FILE
    try:
        before = msgspec.json.decode(path.read_bytes(), type=Plan)
    except FileNotFoundError:
        write_bytes(path, msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n")
        return
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is no plan of a matrix: {error}.", hint="Give another folder: -o DIR") from error
    if differing := [field for field in WHAT if getattr(before, field) != getattr(plan, field)]:
        raise UsageError(
            f"Another matrix was begun in {folder}, with other {' and '.join(WHAT[field] for field in differing)}: "
            f"{before.command}",
            hint="Begin this one in another folder: -o DIR",
        )
