"""How words on the command line are read."""

from __future__ import annotations

import re

import click

__all__ = ["size", "triple"]


def size(text: str) -> tuple[int, int]:
    """Height and width from `HxW`, 16 to 8192 pixels each; one number is a square."""
    match = re.fullmatch(r"(\d+)(?:[x,](\d+))?", text.strip().lower())
    sides = [int(side) for side in match.groups(match[1])] if match else []
    if len(sides) != 2 or not all(16 <= side <= 8192 for side in sides):
        raise click.BadParameter(f"'{text}' is no size; give height and width from 16 to 8192, as in 360x640.")
    return sides[0], sides[1]


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


#: Size at which the best class is picked.
UPSAMPLE = click.Choice(["full", "half", "none"])
