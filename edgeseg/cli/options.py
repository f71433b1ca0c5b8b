"""How words on the command line are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = [
    "UPSAMPLE",
    "assignment",
    "model_options",
    "percentiles",
    "recipe_fields",
    "size",
    "triple",
    "weights_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])


def size(text: str) -> tuple[int, int]:
    """Height and width from `HxW`, 16 to 8192 pixels each; one number is a square."""
    match = re.fullmatch(r"(\d+)(?:[x,](\d+))?", text.strip().lower())
    sides = [int(side) for side in match.groups(match[1])] if match else []
    if len(sides) != 2 or not all(16 <= side <= 8192 for side in sides):
        raise click.BadParameter(f"'{text}' is no size; give height and width from 16 to 8192, as in 360x640.")
    return sides[0], sides[1]


def assignment(text: str) -> tuple[str, str]:
    """A name and what it is set to, from `NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"'{text}' sets nothing; write NAME=VALUE, as in skips=[16,8].")
    return name, value


def triple(text: str) -> tuple[float, float, float]:
    """Three numbers with commas between, or one for all three channels."""
    try:
        numbers = [float(word) for word in text.replace(" ", ",").split(",") if word]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise click.BadParameter(f"'{text}' is not three numbers, as in 0.485,0.456,0.406.")
    return numbers[0], numbers[1], numbers[2]


def percentiles(text: str) -> tuple[float, ...]:
    """Numbers above 0 and below 100 with commas between, rising, each once."""
    try:
        numbers = tuple(sorted({float(word) for word in text.split(",")}))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < number < 100 for number in numbers):
        raise click.BadParameter(f"'{text}' is no list of percentiles above 0 and below 100, as in 50,90,99.")
    return numbers


_WEIGHTS = (
    click.option("--network", metavar="NAME", help="For a checkpoint: its network (see edgeseg models)."),
    click.option("--classes", metavar="NAMES", help="For a model without a card: names, a number, or camvid."),
    click.option("--mean", type=triple, metavar="R,G,B", help="For a model without a card: what it was trained with."),
    click.option("--std", type=triple, metavar="R,G,B", help="For a model without a card: what it was trained with."),
    click.option(
        "--input-range",
        type=click.Choice(["1", "255"]),
        help="Largest pixel value that --mean and --std are for.  [default: 1, or 255 where one is above 1]",
    ),
    click.option("--channels", type=click.Choice(["rgb", "bgr"]), help="Order that such a model was trained on."),
)
_MODEL = (
    click.option("--imgsz", type=size, metavar="HxW", help="Input size in pixels; by default the model's own."),
    click.option("--pixel-format", type=click.Choice(["bgr", "rgb", "bgrx"]), help="Of the frames that are given."),
    click.option("--resize", type=click.Choice(["stretch", "letterbox", "crop"]), help="How frames get to that size."),
    *_WEIGHTS,
    click.option("--output", metavar="NAME", help="Tensor that holds the logits, where a graph has several outputs."),
    click.option("--threshold", type=float, help="For one channel: class 1 is above this output."),
)


def model_options(command: Command) -> Command:
    """Give a command the options that say what a model is, as fields of a build recipe."""
    for option in reversed(_MODEL):
        command = option(command)
    return command


def weights_options(command: Command) -> Command:
    """Give a command the options that say what weights do not say themselves, as fields of a build recipe."""
    for option in reversed(_WEIGHTS):
        command = option(command)
    return command


def recipe_fields(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of a build recipe that options were given for."""
    from edgeseg.card import Resize

    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "resize" in given:
        given["resize"] = Resize(given["resize"])
    if "input_range" in given:
        given["input_range"] = int(given["input_range"])
    return given


#: Size at which the best class is picked.
UPSAMPLE = click.Choice(["full", "half", "none"])
