"""`edgeseg doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from edgeseg import __version__
from edgeseg.cli.report import json_option, print_json, print_table, progress
from edgeseg.errors import MissingDependency

if TYPE_CHECKING:
    from edgeseg.doctor import Check

__all__ = ["doctor"]

COLOURS = {"ok": "green", "warning": "yellow", "missing": "yellow", "fails": "red"}


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Tell what this machine has, which backends work on it, and how to install what is missing.

    A backend works when it has built and run a small INT8 graph just now. Ends with 3 if none does.

    \b
    Examples:
      edgeseg doctor
      edgeseg doctor --json
    """
    from edgeseg.device import describe_device
    from edgeseg.doctor import examine, working_backends

    device = describe_device()
    checks: list[Check] = []
    with progress("Examining this machine") as update:
        for check in examine(device):
            checks.append(check)
            update(min(0.95, len(checks) / 15), check.name)
    working = working_backends(checks)
    report = {"edgeseg": __version__, "device": device, "backends": working, "checks": checks}
    if not as_json:
        _show(checks)
    if not working:
        hint = "Start with: pip install 'edgeseg[onnxruntime,openvino,vision]'"
        error = MissingDependency("No backend works on this machine.", hint=hint)
        error.report = msgspec.to_builtins(report)
        raise error
    if as_json:
        print_json("doctor", report)


def _show(checks: list[Check]) -> None:
    rows = [(check.name, check.status, check.found) for check in checks]
    print_table(f"edgeseg {__version__} on this machine", ("check", "status", "found"), rows)
    for check in checks:
        if check.fix:
            click.echo(f"{click.style(check.name, fg=COLOURS[check.status])}: {check.fix}")
