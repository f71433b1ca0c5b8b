"""Options for engines of native code, which fit one machine and are opened where that machine built them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgeseg.cli.report import progress, say

__all__ = ["make_ready", "native_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def native_options(command: Command) -> Command:
    """`--rebuild` and `--trust-engine`."""
    rebuild = click.option(
        "--rebuild", is_flag=True, help="Build a TensorRT engine that does not fit any more anew, from its graph."
    )
    trust = click.option(
        "--trust-engine", is_flag=True, help="Open an engine that another machine built; its code can do all you can."
    )
    return rebuild(trust(command))


def make_ready(word: str | None, *, rebuild: bool, trust_engine: bool) -> None:
    """Do what the options ask for with the engine that `word` means.

    Raises:
        UsageError: There is no such engine.
        ModelFileError, EngineMismatch: It can't be built anew.
    """
    if not (rebuild or trust_engine):
        return
    from edgeseg.build.identity import trust
    from edgeseg.build.rebuild import PREVIOUS, fits
    from edgeseg.build.rebuild import rebuild as build_anew
    from edgeseg.build.store import find_engine, find_path

    path = find_path(word)
    if rebuild and not fits(path):
        with progress(f"Building {path.name} anew") as update:
            build_anew(path, update)
        say(f"Built {path} anew; the engine before lies in {path.parent / PREVIOUS}.")
    elif trust_engine:
        trust(find_engine(word))
