"""`edgeseg service`."""

from __future__ import annotations

import getpass
import re
import sys

import click

from edgeseg.cli.report import say

__all__ = ["service"]


@click.group()
def service() -> None:
    """Run edgeseg as a service of systemd.

    \b
    Examples:
      edgeseg service print-unit | sudo tee /etc/systemd/system/edgeseg.service
      edgeseg service print-unit -- rtsp://10.0.0.7/street web://127.0.0.1:8080 --engine engines/nano
    """


@service.command("print-unit", context_settings={"ignore_unknown_options": True})
@click.option("--user", help="Who runs it.  [default: you, because engines are opened by those who built them]")
@click.option("--name", default="edgeseg", show_default=True, help="Of the service.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- SOURCE [SINK]... [OPTION]...]")
def print_unit(user: str | None, name: str, arguments: tuple[str, ...]) -> None:
    """Print a hardened unit for `edgeseg run` with what comes after --; by default `0 web://127.0.0.1:8080`.

    The watchdog is fed only while frames are shown, or while a lost camera is looked for; what hangs is started anew.
    The camera may be there later than the service (--wait-source). Logs are JSON, one object a line. SIGTERM ends it
    within three seconds.

    \b
    Examples:
      edgeseg service print-unit
      edgeseg service print-unit --name door -- /dev/v4l/by-id/usb-cam web://127.0.0.1:8080 area.jsonl
    """
    from edgeseg.build.store import find_path
    from edgeseg.cli.run import run
    from edgeseg.data.uri import without_password
    from edgeseg.service import unit_text

    if not re.fullmatch(r"\w[\w.-]*", name):
        raise click.UsageError(f"'{name}' is no name of a service; letters, digits, '.', '_' and '-' are possible.")
    given = list(arguments) or ["0", "web://127.0.0.1:8080"]
    with run.make_context("run", list(given)) as context:  # Says what does not fit, before systemd does at every start.
        engine, waits = find_path(context.params["engine"]), context.params["wait_source"]
    words = _without(given, "--engine")
    command = [sys.executable, "-m", "edgeseg", "run", *words, "--engine", str(engine.resolve())]
    command += [] if waits else ["--wait-source"]
    if any(without_password(word) != word for word in given):
        say(
            "warning: an address holds a password. Write $NAME in its place, and its value into a file for "
            "EnvironmentFile= that nobody else reads; or let nobody else read the unit: sudo chmod 600 FILE"
        )
    click.echo(unit_text(command, user=user or getpass.getuser(), name=name), nl=False)


def _without(words: list[str], option: str) -> list[str]:
    """The words but for an option and its value."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == option:
            next(rest, None)
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept
