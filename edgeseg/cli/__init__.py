"""The command line: the only place that prints, exits and parses arguments.

One file per command, imported when it is called: it parses, calls one library function, and prints.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence

import click

from edgeseg import __version__
from edgeseg.cli.report import fail, set_up_logging
from edgeseg.errors import EdgesegError, MissingDependency, nearest

__all__ = ["main"]

#: Command to `module:command`, in the order of a user's road.
COMMANDS = {
    "models": "edgeseg.cli.models:models",
    "train": "edgeseg.cli.train:train",
    "export": "edgeseg.cli.export:export",
    "calibrate": "edgeseg.cli.calibrate:calibrate",
    "quantize": "edgeseg.cli.quantize:quantize",
    "sensitivity": "edgeseg.cli.sensitivity:sensitivity",
    "build": "edgeseg.cli.build:build",
    "pack": "edgeseg.cli.pack:pack",
    "inspect": "edgeseg.cli.inspect:inspect",
    "compare": "edgeseg.cli.compare:compare",
    "eval": "edgeseg.cli.eval:eval_",
    "run": "edgeseg.cli.run:run",
    "demo": "edgeseg.cli.demo:demo",
    "service": "edgeseg.cli.service:service",
    "bench": "edgeseg.cli.bench:bench",
    "report": "edgeseg.cli.report_command:report",
    "doctor": "edgeseg.cli.doctor:doctor",
}

#: Package that a command imports when it runs, and the extra that installs it.
EXTRAS = {
    "PIL": "vision",
    "aiohttp": "web",
    "av": "video",
    "jinja2": "report",
    "psutil": "report",
    "cv2": "vision",
    "onnx": "onnxruntime",
    "onnx_ir": "onnxruntime",
    "onnxruntime": "onnxruntime",
    "onnxscript": "onnxruntime",
    "openvino": "openvino",
    "safetensors": "train",
    "torch": "train",
}


class LazyGroup(click.Group):
    """A group that imports a command only when it is called or asked for its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"There is no command '{args[0]}'. {nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="edgeseg")
@click.option("-v", "--verbose", count=True, help="Tell what happens on stderr; twice tells all.")
@click.option("--json-logs", is_flag=True, envvar="EDGESEG_JSON_LOGS", help="Log one JSON object a line.")
def cli(verbose: int, json_logs: bool) -> None:
    """Get a segmentation network off the training machine and onto a camera.

    \b
    Examples:
      edgeseg build --int8                     the default network as a gated INT8 engine for this machine
      edgeseg run street.mp4                   segment a video with the engine that was built last
      edgeseg demo                             segment what the camera sees, in a window or a page
      edgeseg build net.onnx --int8 --calib frames/ --classes 'road,car,sky'
      edgeseg doctor                           what would work on this machine, and what is missing
    """
    set_up_logging(verbose, json_lines=json_logs)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (see `edgeseg.errors`; 130 when interrupted)."""
    args = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    command = next((word for word in args if word in COMMANDS), "")
    as_json = "--json" in args
    try:
        ended: int | None = cli.main(args, prog_name="edgeseg", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        return fail(command, _explained(error, command), as_json=as_json)
    return ended or 0


def _explained(error: BaseException, command: str) -> EdgesegError:
    """What ended a command, as an error with an exit code and, where one is known, a next step."""
    if isinstance(error, EdgesegError):
        return error
    if isinstance(error, click.ClickException):
        usage = EdgesegError(error.format_message(), hint=f"See: edgeseg {command} --help".replace("  ", " "))
        usage.exit_code = error.exit_code
        return usage
    if isinstance(error, KeyboardInterrupt | click.Abort):
        interrupted = EdgesegError("Interrupted. What was finished before stays.")
        interrupted.exit_code = 130
        return interrupted
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return MissingDependency(
            f"edgeseg {command} needs the package '{error.name}', which is not installed.",
            hint=f"Install it: pip install 'edgeseg[{EXTRAS[error.name]}]'",
        )
    if isinstance(error, OSError):
        return _from_os(error)
    if isinstance(error, MemoryError):
        return EdgesegError("Out of memory.", hint="Choose a smaller --imgsz.")
    logging.getLogger(__name__).info("What edgeseg did not expect:", exc_info=error)
    reason = (str(error).splitlines() or [""])[0]
    return EdgesegError(
        f"edgeseg did not expect this: {type(error).__name__}: {reason}",
        hint=f"Please report it with the command; edgeseg -v {command} ... tells where it happened.",
    )


def _from_os(error: OSError) -> EdgesegError:
    where = f": {error.filename}" if error.filename else ""
    hints = {28: "Free some space, or write elsewhere with -o. What was there before is unchanged.",
             30: "Write elsewhere with -o.", 13: "Write elsewhere with -o, or change its permissions."}  # fmt: skip
    return EdgesegError(f"{error.strerror or error}{where}.", hint=hints.get(error.errno or 0, ""))
