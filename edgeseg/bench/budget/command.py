"""The command line that asks for a recipe: what is typed again where something else is possible."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.bench.budget.report import Budget
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Resize

__all__ = ["SEARCHED", "command"]

#: Options that are not named as their fields are.
NAMED = {
    "workspace_mib": "--workspace",
    "hardware": "--hardware-compatibility",
    "any_version": "--version-compatible",
    "timeout_s": "--timeout",
}
#: Fields of a recipe that are searched where they are not given.
SEARCHED = ("model", "precision", "imgsz", "upsample")


def command(budget: Budget, recipe: BuildRecipe, fps: float, out: Path | None = None) -> str:
    """What is typed to ask for so many frames per second, with all else as it was.

    Args:
        budget: The least mIoU, and what is not searched.
        recipe: Each field that is not as by default is given. (Of `resize` there is an option for the mode alone.)
        fps: In place of the budget's.
        out: Folder that keeps the engine, where one was named.
    """
    words = ["edgeseg", "build", *([recipe.model] if "model" in budget.fixed else []), "--fps", _number(fps)]
    words += ["--min-miou", _number(budget.min_miou)] if budget.min_miou is not None else []
    words += [f"--{recipe.precision}"] if "precision" in budget.fixed else []
    words += _option("imgsz", recipe.imgsz) if "imgsz" in budget.fixed else []
    words += _option("upsample", recipe.upsample) if "upsample" in budget.fixed else []
    words += _options(recipe, BuildRecipe())
    words += ["-o", str(out)] if out is not None else []
    return shlex.join(words)


def _options(told: msgspec.Struct, plain: msgspec.Struct) -> Iterator[str]:
    """The words for each field in which a struct is not the plain one."""
    for field in told.__struct_fields__:
        value = getattr(told, field)
        if field in SEARCHED or value == getattr(plain, field):
            continue
        yield from _options(value, TensorRtOptions()) if isinstance(value, TensorRtOptions) else _option(field, value)


def _option(field: str, value: object) -> Iterator[str]:
    name = NAMED.get(field, f"--{field.replace('_', '-')}")
    if isinstance(value, bool):
        yield name if value else name.replace("--", "--no-", 1)
    elif isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        for one in value:
            yield from (name, one)
    elif isinstance(value, tuple):
        yield from (name, ("x" if field == "imgsz" else ",").join(map(_number, value)))
    elif isinstance(value, Resize):
        yield from (name, value.mode)
    elif value is not None:
        yield from (name, _number(value) if isinstance(value, float) else str(value))


def _number(value: float) -> str:
    """The shortest text that is read as that number."""
    return short if float(short := f"{value:g}") == value else repr(value)
