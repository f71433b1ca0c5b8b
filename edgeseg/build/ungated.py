"""Engines of a model as they are, neither gated nor kept: to time them, which is not up to their scales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeseg.backends import Engine
from edgeseg.build.calibrate import calibrate
from edgeseg.build.candidates import Candidate, build_candidate, find_backends
from edgeseg.build.engine_graph import MadeGraphs
from edgeseg.build.graph_facts import Quantization
from edgeseg.build.identity import sign
from edgeseg.build.prepared import open_prepared
from edgeseg.build.quantizations import first_recipe
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Dialect, write_card
from edgeseg.errors import UsageError
from edgeseg.graph.io import require_card

__all__ = ["build_ungated"]


def build_ungated(
    recipe: BuildRecipe, folder: Path, on_progress: Callable[[float, str], None] = lambda *_: None
) -> Engine:
    """The engine of a recipe, of the form of INT8 that its library is likely to run fastest.

    Args:
        recipe: Names one backend; how engines are judged is not looked at.
        folder: Gets a new folder with the engine.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        UsageError: No such model or backend, a precision that it can't run here, or INT8 without ranges.
        ModelFileError: The library refuses the graph.
        MissingDependency: The library is not installed.
    """
    backend = find_backends(recipe)[0]
    possible = ("int8", *backend.floats) if backend.dialects else backend.floats
    if recipe.precision not in possible:
        raise UsageError(f"{backend.name} can't run {recipe.precision} here; possible: {', '.join(possible)}.")
    on_progress(0.0, "prepare the graph")
    model, prepared = open_prepared(recipe)
    dialect: Dialect = "float"
    quantization = None
    if recipe.precision == "int8":
        dialect = backend.dialects[0]
        ranges = calibrate(recipe, model, prepared, on_progress).ranges
        assert ranges is not None, "an INT8 recipe has ranges"
        quantization = Quantization(first_recipe(recipe, require_card(prepared), dialect), ranges)
    candidate = Candidate(backend, recipe.precision, dialect, "candidate")
    graphs = MadeGraphs(prepared, recipe.upsample)
    engine = build_candidate(candidate, graphs, quantization, recipe, folder, on_progress).engine
    if not backend.native:
        return engine
    write_card(engine.path, sign(engine.card))
    return Engine.open(engine.path)
