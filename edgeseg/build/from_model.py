"""What a build needs, made of a model: prepared, calibrated and quantized here."""

from __future__ import annotations

from collections.abc import Collection

from edgeseg.build.calibrate import calibrate
from edgeseg.build.engine_graph import MadeGraphs
from edgeseg.build.gate import gate_frames, golden_frame
from edgeseg.build.prepared import open_prepared
from edgeseg.build.quantizations import first_quantizations
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.remedies import Remedies
from edgeseg.build.search import search_frames
from edgeseg.build.stock import OnProgress, Stock
from edgeseg.card import Dialect
from edgeseg.graph.io import require_card
from edgeseg.graph.verify import verify_batch

__all__ = ["stock_of_model"]


def stock_of_model(recipe: BuildRecipe, dialects: Collection[Dialect], on_progress: OnProgress) -> Stock:
    """All that a build of `recipe.model` needs.

    Args:
        recipe: What to build.
        dialects: Forms of INT8 that may be wanted.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        UsageError, ModelFileError, MissingDependency: See the stages.
    """
    on_progress(0.0, "read the model")
    model, prepared = open_prepared(recipe)
    card = require_card(prepared)
    if recipe.tensorrt.batch is not None:
        verify_batch(prepared, golden_frame(card))
    calibration = calibrate(recipe, model, prepared, lambda share, note: on_progress(0.1 + 0.65 * share, note))
    frames = gate_frames(recipe, card, calibration, shipped=model.shipped)
    quantizations, calibrators = first_quantizations(
        recipe, prepared, dialects, calibration, frames, lambda share, note: on_progress(0.75 + 0.25 * share, note)
    )

    def remedies(dialect: Dialect, tell: OnProgress) -> Remedies:
        return Remedies(prepared, dialect, calibration, search_frames(calibration, frames), recipe.upsample, tell)

    return Stock(
        recipe,
        card,
        MadeGraphs(prepared, recipe.upsample),
        quantizations,
        frames,
        remedies=remedies,
        search_apart=calibration.search is not None,
        search_keys=tuple(calibration.search.keys) if calibration.search is not None else (),
        calibrators=tuple(calibrators),
        warnings=calibration.warnings,
    )
