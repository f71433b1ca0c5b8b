"""Options that several commands share, and how their words are read."""

from __future__ import annotations

import re
from typing import Any

import click

__all__ = ["SIZE", "TRIPLE"]


class Size(click.ParamType):
    """`HxW` in pixels, or one number for a square."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Height and width, 16 to 8192 each."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)(?:[x,](\d+))?", str(value).strip().lower())
        sides = [int(side) for side in match.groups(match[1])] if match else []
        if len(sides) != 2 or not all(16 <= side <= 8192 for side in sides):
            self.fail(f"'{value}' is no size; give height and width from 16 to 8192, as in 360x640.", param, ctx)
        return sides[0], sides[1]


class Triple(click.ParamType):
    """Three numbers with commas between, or one for all three channels."""

    name = "R,G,B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        """The three numbers."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = [float(word) for word in str(value).replace(" ", ",").split(",") if word]
        except ValueError:
            numbers = []
        if len(numbers) == 1:
            numbers *= 3
        if len(numbers) != 3:
            self.fail(f"'{value}' is not three numbers, as in 0.485,0.456,0.406.", param, ctx)
        return numbers[0], numbers[1], numbers[2]


SIZE = Size()
TRIPLE = Triple()
