"""How commands speak: JSON or tables on stdout, progress, logs and errors on stderr."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

import click
import msgspec

from edgeseg.errors import EdgesegError

__all__ = [
    "fail",
    "format_time",
    "json_option",
    "points",
    "print_json",
    "print_table",
    "progress",
    "say",
    "set_up_logging",
]

#: The option that every reporting command has.
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")


class JsonLines(logging.Formatter):
    """One JSON object a line: `ts` (ISO, UTC), `level`, `event` (the logger), `message`, and `err` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": datetime.fromtimestamp(record.created, timezone.utc),
            "level": record.levelname.lower(),
            "event": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["err"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def set_up_logging(verbose: int, *, json_lines: bool = False) -> None:
    """Send the log to stderr: warnings, with -v what edgeseg does, with -vv everything of other libraries too."""
    root = logging.DEBUG if verbose > 1 else logging.WARNING
    logging.basicConfig(level=root, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True)
    logging.getLogger("edgeseg").setLevel(logging.INFO if verbose == 1 else logging.NOTSET)
    if json_lines:
        logging.getLogger().handlers[0].setFormatter(JsonLines())


def say(text: str) -> None:
    """A line for people, on stderr, so that stdout stays clean."""
    click.echo(text, err=True)


def print_json(command: str, report: Any) -> None:
    """Print a report, a dict or a msgspec Struct, as one JSON object with its schema; NaN becomes null."""
    body = msgspec.to_builtins(report)
    click.echo(msgspec.json.encode({"schema": f"edgeseg.{command}/1", **body}).decode())


def fail(command: str, error: EdgesegError, *, as_json: bool) -> int:
    """Tell an error, as JSON where that was asked for, and return its exit code."""
    if as_json:
        described = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        print_json(command or "edgeseg", {**error.report, "error": described})
    click.secho(f"error: {error.message}", err=True, fg="red")
    if error.hint:
        click.echo(error.hint, err=True)
    return error.exit_code


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Sequence[str] = ()
) -> None:
    """A table on stdout; columns of numbers are set flush right, and those in `whole` are never broken."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[index]) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=column in whole)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _is_number(text: str) -> bool:
    return text in ("", "-") or text.lstrip("+-").replace(".", "").replace(",", "").rstrip(" %x").isdigit()


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[float | None, str], None]]:
    """A bar on stderr. Gives a function that takes the share done, 0 to 1, and a word on where it stands.

    The share is None where there is no known end. Without a terminal it writes a line every ten seconds.
    """
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, note="")
        yield lambda share, note: bar.update(task, completed=share, total=1.0 if share is not None else None, note=note)


def _lines(title: str) -> Callable[[float | None, str], None]:
    started = last = time.monotonic()
    first: float | None = None

    def update(share: float | None, note: str) -> None:
        nonlocal first, last
        first, now = share if first is None else first, time.monotonic()
        if now - last > 10:
            last = now
            done, left = "", ""
            if share is not None and first is not None:
                done = f"{share:.0%} "
                left = f", {format_time((now - started) * (1 - share) / (share - first))} left" if share > first else ""
            say(f"{title}: {done}{note}{left}")

    return update


def format_time(seconds: float) -> str:
    """`1:02:03`, or `2:03` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def points(share: float | None) -> str:
    """A share of 1 in points, `71.40`; `-` where there is none."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.2f}"
