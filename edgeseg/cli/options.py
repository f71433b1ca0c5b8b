"""How words on the command line are read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = [
    "UPSAMPLE",
    "Finite",
    "assignment",
    "duration",
    "gate_options",
    "model_options",
    "percentiles",
    "quantization_options",
    "recipe_fields",
    "size",
    "sizes",
    "thread_counts",
    "triple",
    "weights_options",
    "words",
]

Command = TypeVar("Command", bound=Callable[..., Any])


def size(text: str) -> tuple[int, int]:
    """Height and width from `HxW`, 16 to 8192 pixels each; one number is a square."""
    match = re.fullmatch(r"(\d+)(?:[x,](\d+))?", text.strip().lower())
    sides = [int(side) for side in match.groups(match[1])] if match else []
    if len(sides) != 2 or not all(16 <= side <= 8192 for side in sides):
        raise click.BadParameter(f"'{text}' is no size; give height and width from 16 to 8192, as in 360x640.")
    return sides[0], sides[1]


class Finite(click.FloatRange):
    """A number in a range, and neither infinite nor none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See `click.ParamType`."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


def duration(text: str) -> float:
    """Seconds from `90`, `90s`, `10m` or `2h`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h)?", text.strip().lower())
    if match is None:
        raise click.BadParameter(f"'{text}' is no time; write seconds, minutes or hours, as in 90s, 10m or 2h.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, None: 1}[match[2]]


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


def words(text: str) -> tuple[str, ...]:
    """Words with commas between, each once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Sizes as `size` reads them, with commas between, each once."""
    return tuple(dict.fromkeys(size(word) for word in words(text)))


def thread_counts(text: str) -> tuple[int, ...]:
    """Whole numbers from 1 with commas between, rising, each once."""
    found = words(text)
    if not found or not all(word.isdecimal() and int(word) for word in found):
        raise click.BadParameter(f"'{text}' is no list of threads, as in 1,2,4.")
    return tuple(sorted({int(word) for word in found}))


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


_QUANTIZATION = (
    click.option(
        "--calib",
        metavar="SOURCE",
        help="Frames to measure ranges on: folder, list, video, calibration set; every fifth is held out to choose by.",
    ),
    click.option(
        "--calib-frames",
        type=click.IntRange(1),
        help="At most so many; every fifth of them is held out.  [default: 100]",
    ),
    click.option(
        "--calibrator",
        metavar="NAME",
        help="minmax, percentile:99.9, entropy, mse; or auto.  [default: the model's own recipe, else minmax]",
    ),
    click.option("--per-tensor", is_flag=True, help="One scale for all weights of an operator."),
    click.option("--keep-float", multiple=True, metavar="NODE", help="Leave this node in float; may be repeated."),
)
_GATE = (
    click.option("--data", metavar="DIR", help="Labelled frames to gate on: images/ with masks/ or labels/, 255 void."),
    click.option("--frames", metavar="SOURCE", help="Frames without labels to gate on: folder, list, video."),
    click.option(
        "--gate-frames", type=click.IntRange(1), help="At most so many.  [default: all with labels, else 100]"
    ),
    click.option(
        "--max-drop", type=float, metavar="POINTS", help="Largest drop of mIoU; needs --data.  [default: 0.5]"
    ),
    click.option("--max-class-drop", type=float, metavar="POINTS", help="Of one class; needs --data.  [default: 2.0]"),
    click.option(
        "--min-agreement",
        type=click.FloatRange(0, 100),
        metavar="PERCENT",
        help="Confident pixels that must have float's class, without labels.  [default: 96]",
    ),
    click.option(
        "--min-class-iou",
        type=click.FloatRange(0, 100),
        metavar="POINTS",
        help="IoU against float of each class, without labels.  [default: 80]",
    ),
    click.option(
        "--min-class-share",
        type=click.FloatRange(0, 100, max_open=True),
        metavar="PERCENT",
        help="Classes with less of the pixels are reported and do not gate.  [default: 1]",
    ),
)


def model_options(command: Command) -> Command:
    """Give a command the options that say what a model is, as fields of a build recipe."""
    for option in reversed(_MODEL):
        command = option(command)
    return command


def quantization_options(command: Command) -> Command:
    """Give a command the options that say how INT8 comes about, as fields of a build recipe."""
    for option in reversed(_QUANTIZATION):
        command = option(command)
    return command


def gate_options(command: Command) -> Command:
    """Give a command the options that say how engines are judged, as fields of a build recipe."""
    for option in reversed(_GATE):
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
