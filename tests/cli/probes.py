"""Commands that end in every way that a command can end."""

from __future__ import annotations

import errno

import click

from edgeseg import errors
from edgeseg.cli.report import json_option, print_json

ENDS = {
    "failed": errors.EdgesegError("It failed.", hint="Try this."),
    "usage": errors.UsageError("It does not fit."),
    "missing": errors.MissingDependency("It is not here.", hint="Install it: pip install it"),
    "model": errors.ModelFileError("It is damaged."),
    "engine": errors.EngineMismatch("It is for another machine."),
    "source": errors.SourceLost("It ended."),
    "gate": errors.GateFailed("It is not good enough."),
    "interrupted": KeyboardInterrupt(),
    "aborted": click.Abort(),
    "disk full": OSError(errno.ENOSPC, "No space left on device", "/somewhere/engine.onnx"),
    "read-only": OSError(errno.EROFS, "Read-only file system", "/somewhere"),
    "memory": MemoryError(),
    "exit 130": click.exceptions.Exit(130),
    "package": ModuleNotFoundError("No module named 'torch'", name="torch"),
}
ENDS["gate"].report = {"verdict": "fail", "gate": {"drop": float("nan")}}  # type: ignore[attr-defined]


@click.command()
@click.argument("end", default="")
@json_option
def probe(end: str, as_json: bool) -> None:
    """End as told."""
    if end:
        raise ENDS[end]
    print_json("probe", {"frames": 3}) if as_json else click.echo("3 frames")
