"""From what a recipe names to the prepared graph, compared with the original."""

from __future__ import annotations

import onnx_ir as ir

from edgeseg.build.gate import golden_frame
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.source import OpenedModel, open_model
from edgeseg.graph.io import require_card
from edgeseg.graph.prepare import prepare_graph
from edgeseg.graph.verify import verify_prepared

__all__ = ["open_prepared"]


def open_prepared(recipe: BuildRecipe) -> tuple[OpenedModel, ir.Model]:
    """The model that a recipe names, and its prepared graph with its card.

    Raises:
        UsageError: There is no such model, or the options do not fit it.
        ModelFileError: The model is damaged, or prepared it computes something else.
    """
    model = open_model(recipe)
    prepared = prepare_graph(model.graph, model.about, size_hw=recipe.imgsz)
    verify_prepared(model.graph, model.about, prepared, golden_frame(require_card(prepared)))
    return model, prepared
