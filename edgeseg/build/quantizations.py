"""How each dialect of a build is quantized to begin with."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec
import onnx_ir as ir

from edgeseg.build.calibration import Calibration
from edgeseg.build.gate import GateFrames
from edgeseg.build.graph_facts import Quantization
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import CalibratorRow
from edgeseg.build.search import choose_calibrator, open_probe, search_frames
from edgeseg.build.source import OpenedModel
from edgeseg.card import Card, Dialect, Int8Recipe
from edgeseg.graph.io import require_card
from edgeseg.quantize.ranges import Ranges, load_ranges

__all__ = ["AUTO", "first_quantizations", "first_recipe", "recipe_for"]

AUTO = "auto"
DEFAULT = "minmax"


def first_quantizations(
    recipe: BuildRecipe,
    prepared: ir.Model,
    dialects: Collection[Dialect],
    calibration: Calibration,
    gate: GateFrames,
    on_progress: Callable[[float, str], None],
) -> tuple[dict[Dialect, Quantization], list[CalibratorRow]]:
    """The quantization of each dialect, and what `--calibrator auto` tried.

    Raises:
        UsageError: The calibrator is to be chosen, and there are no frames to choose by.
    """
    if calibration.ranges is None:
        return {}, []
    card = require_card(prepared)
    asked = msgspec.structs.replace(recipe, calibrator=DEFAULT) if recipe.calibrator == AUTO else recipe
    found: dict[Dialect, Quantization] = {
        name: Quantization(first_recipe(asked, card, name), calibration.ranges) for name in dialects
    }
    if recipe.calibrator != AUTO:
        return found, []
    rows: list[CalibratorRow] = []
    on_progress(0.0, "float answers to the search frames")
    probe = open_probe(prepared, search_frames(calibration, gate), recipe.upsample)
    for index, name in enumerate(dialects):

        def tell(done: int, of: int, index: int = index, name: str = name) -> None:
            on_progress((index + done / of) / len(dialects), f"calibrators for {name}, {done} of {of}")

        found[name], tried = choose_calibrator(prepared, found[name], name, probe, tell)
        rows += tried
    return found, rows


def first_recipe(recipe: BuildRecipe, card: Card, dialect: Dialect) -> Int8Recipe:
    """The model's own, which goes with the ranges beside it, unless something else is asked for.

    Args:
        recipe: What is asked for; its calibrator is none to be chosen.
        card: Of the float graph.
    """
    asked = recipe.calibrator or recipe.per_tensor or recipe.keep_float or recipe.calib
    if not asked and dialect in card.int8:
        return card.int8[dialect]
    return Int8Recipe(
        calibrator=recipe.calibrator or DEFAULT, per_tensor=recipe.per_tensor, keep_float=recipe.keep_float
    )


def recipe_for(ranges: Ranges, model: OpenedModel, recipe: BuildRecipe, card: Card, dialect: Dialect) -> Int8Recipe:
    """The same for ranges that were given: the model's own is followed where they are those that lie beside it."""
    beside = dialect in card.int8 and model.ranges is not None and load_ranges(model.ranges).sha256() == ranges.sha256()
    return first_recipe(recipe, card if beside else msgspec.structs.replace(card, int8={}), dialect)
