"""`edgeseg build --fps`: what is fixed and what is searched, and the front as a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeseg.cli.build_tables import last_line
from edgeseg.cli.interrupt import INTERRUPTED
from edgeseg.cli.report import print_json, print_table, progress, say
from edgeseg.errors import EdgesegError, GateFailed

if TYPE_CHECKING:
    from edgeseg.bench.budget import Front
    from edgeseg.bench.budget.report import FrontPoint
    from edgeseg.build.recipe import BuildRecipe

__all__ = ["build_for_budget", "share"]


def share(text: str) -> float:
    """A share of 1 from `0.6`, or from points above 1, as in `60`."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    value = value / 100 if value > 1 else value
    if not 0 < value <= 1:
        raise click.BadParameter(f"'{text}' is no mIoU; give a share, as in 0.6, or points, as in 60.")
    return value


def build_for_budget(
    fps: float, min_miou: float | None, recipe: BuildRecipe, given: set[str], out: Path | None, *, as_json: bool
) -> None:
    """Search, build and tell; what was measured is kept and told in failing too, and after Ctrl-C.

    Args:
        fps, min_miou: The budget, and the least mIoU as a share of 1.
        recipe: What holds for all builds.
        given: Fields of it that the user set.
        out: Folder that keeps the engine and the front.
        as_json: Print one JSON object.
    """
    import msgspec

    from edgeseg.bench.budget import Budget, Front, build_within
    from edgeseg.bench.budget.command import SEARCHED
    from edgeseg.bench.budget.search import FRONT, PICTURE
    from edgeseg.files import engines_folder

    budget = Budget(fps=fps, min_miou=min_miou, fixed=frozenset(name for name in SEARCHED if name in given))  # type: ignore[misc]
    folder = out or engines_folder()
    begun = (folder / FRONT).stat().st_mtime_ns if (folder / FRONT).is_file() else 0
    try:
        with progress("build") as update:
            found = build_within(budget, recipe, out, update)
    except GateFailed as error:
        if not as_json and error.report.get("front"):
            _tell(msgspec.convert(error.report["front"], Front), folder / PICTURE)
        raise
    except KeyboardInterrupt as interrupt:
        front = _written(folder / FRONT, begun)
        if front is None:
            raise
        if not as_json:
            _tell(front, folder / PICTURE)
        raise _interrupted(front, folder / FRONT) from interrupt
    if as_json:
        print_json("build", {**msgspec.to_builtins(found.build), "front": msgspec.to_builtins(found.front)})
        return
    _tell(found.front, folder / PICTURE)
    for warning in found.build.warnings:
        say(f"warning: {warning}")
    say(found.front.why)
    say(last_line(found.build))


def _written(path: Path, begun: int) -> Front | None:
    """The front that was written since then, by the file's clock; None where none was, or has no points yet."""
    import msgspec

    from edgeseg.bench.budget import Front

    if not path.is_file() or path.stat().st_mtime_ns <= begun:
        return None
    front = msgspec.json.decode(path.read_bytes(), type=Front)
    return front if front.points else None


def _interrupted(front: Front, path: Path) -> EdgesegError:
    """Why it ended, with what was measured until then."""
    import msgspec

    error = EdgesegError(f"Interrupted. What was measured until then lies in {path}.")
    error.exit_code, error.report = INTERRUPTED, {"front": msgspec.to_builtins(front)}
    return error


def _tell(front: Front, picture: Path) -> None:
    """The front as a table, what was left out, and what the user should know."""
    from edgeseg.bench.budget.words import accuracy_words

    figure = {"labels": "mIoU", "agreement": "agreement, %", "shipped": "mIoU as shipped"}[front.accuracy.kind]
    columns = ("model", "size", "upsample", "precision", "ms p50", "ms p90", "FPS", figure, "")
    print_table(
        f"Measured in turns, frames of {front.frame_hw[1]}x{front.frame_hw[0]}; the budget is {front.budget_ms:.1f} ms",
        columns,
        [_cells(one) for one in front.points],
        whole=("model",),
    )
    say("Run by " + "; ".join(_library_words(front)) + ".")
    say(accuracy_words(front))
    far = [one for one in front.not_measured if one.least_ms is not None]
    if far:
        say("Far beyond the budget, and dropped after a few frames: " + _listed([one.name for one in far]))
    unbuilt = [one for one in front.not_measured if one.least_ms is None]
    if unbuilt:
        say(f"Not built, {len(unbuilt)}: " + _listed([f"{one.name} ({one.reason})" for one in unbuilt], 1))
    for warning in front.warnings:
        say(f"warning: {warning}")
    say(f"The front as a picture: {picture}")


def _library_words(front: Front) -> Iterator[str]:
    """For each precision the library that runs it, and what the others took on the cheapest network."""
    for picked in (row for row in front.libraries if row.picked):
        others = [row for row in front.libraries if row.precision == picked.precision and not row.picked]
        told = "".join(f", {row.backend} {row.dialect} {row.p50_ms:.1f}" for row in others)
        yield f"{picked.backend} {picked.dialect} for {picked.precision} ({picked.p50_ms:.1f} ms{told})"


def _listed(names: list[str], most: int = 4) -> str:
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more + "."


def _cells(one: FrontPoint) -> tuple[str, ...]:
    words = ["▶ picked"] if one.picked else []
    words += ["front"] if one.on_front else []
    words += [] if one.keeps else ["over"]
    return (
        one.model,
        "{}x{}".format(*one.size_hw),
        one.upsample,
        one.precision,
        f"{one.p50_ms:.2f}",
        f"{one.p90_ms:.2f}",
        f"{1e3 / one.p90_ms:.1f}",
        f"{100 * one.accuracy:.2f}",
        ", ".join(words),
    )
