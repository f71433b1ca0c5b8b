"""`edgeseg bench --matrix`: its options, and its plan."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from edgeseg.card import Precision
from edgeseg.children import end_with_stdin
from edgeseg.cli.options import sizes, thread_counts, words
from edgeseg.errors import UsageError, nearest
from edgeseg.files import sha256_file

if TYPE_CHECKING:
    from edgeseg.bench import Settings
    from edgeseg.bench.matrix import Plan

__all__ = ["NAMES", "main", "matrix_options", "matrix_plan"]

Command = TypeVar("Command", bound=Callable[..., Any])
ROUNDS = 3
KNOWN: tuple[Precision, ...] = get_args(Precision)
#: Scenarios whose samples can be put together out of several rounds.
SCENARIOS = ("single-stream", "throughput")
_OPTIONS = (
    click.option("--matrix", is_flag=True, help="Build and measure every combination of ENGINES, here models, with:"),
    click.option("--imgsz", "sizes", type=sizes, metavar="HxW,HxW", help="Sizes.  [default: each model's own]"),
    click.option("--precisions", type=words, metavar="P,P", help="Of int8, fp32, bf16, fp16.  [default: int8,fp32]"),
    click.option("--backends", type=words, metavar="B,B", help="Engine libraries.  [default: all installed]"),
    click.option("--threads", type=thread_counts, metavar="N,N", help="Of the processor.  [default: all its cores]"),
    click.option("--rounds", type=click.IntRange(1, 100), help=f"Turns of each engine.  [default: {ROUNDS}]"),
)
NAMES = ("sizes", "precisions", "backends", "threads", "rounds")


def matrix_options(command: Command) -> Command:
    """Add them to a command, in this order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def matrix_plan(models: tuple[str, ...], out: Path, asked: dict[str, Any], settings: Settings) -> Plan:
    """The plan of what was typed.

    Args:
        models: None are all that are shipped.
        out: The matrix's folder.
        asked: Options of `NAMES`, None where they were not given.
        settings: The other options.

    Raises:
        UsageError: A word is none of those possible, or the scenario is one of the other commands'.
    """
    from edgeseg.backends import installed_backends
    from edgeseg.bench.matrix import Plan, cells
    from edgeseg.bench.runner import options_of
    from edgeseg.catalog import zoo_models

    if settings.scenario not in SCENARIOS:
        raise UsageError(f"--matrix measures {' or '.join(SCENARIOS)}, and not {settings.scenario}.")
    usable = [backend.name for backend in installed_backends() if not backend.obstacle()]
    precisions: tuple[Precision, ...] = asked["precisions"] or ("int8", "fp32")
    for precision in precisions:
        if precision not in KNOWN:
            hint = f"{nearest(precision, KNOWN)} There are: {', '.join(KNOWN)}"
            raise UsageError(f"There is no precision '{precision}'.", hint=hint)
    for backend in asked["backends"] or ():
        if backend not in usable:
            hint = f"{nearest(backend, usable)} Here run: {', '.join(usable)}"
            raise UsageError(f"The backend '{backend}' can't run here.", hint=hint)
    typed = ["edgeseg", "bench", "--matrix", *models]
    for name, option in zip(NAMES, ("--imgsz", "--precisions", "--backends", "--threads", "--rounds"), strict=True):
        if asked[name] is not None:
            typed += [option, _spelled(asked[name])]
    return Plan(
        cells=cells(
            models or tuple(zoo_models()),
            asked["sizes"] or (),
            precisions,
            asked["backends"] or usable,
            asked["threads"] or (),
        ),
        settings=settings,
        rounds=asked["rounds"] or ROUNDS,
        models={word: sha256_file(Path(word)) for word in models if Path(word).is_file()},
        command=shlex.join([*typed, *options_of(settings), "-o", str(out)]),
    )


def _spelled(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join("x".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)
    return str(value)


def main() -> None:
    """One round: `edgeseg` with these words, in a process that ends with the one that measures the matrix."""
    from edgeseg.cli import main as edgeseg

    end_with_stdin()
    raise SystemExit(edgeseg())
