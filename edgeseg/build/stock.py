"""What a build needs before it builds, be it made of a model here or packed elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.build.gate import GateFrames
from edgeseg.build.graph_facts import Graphs, Quantization
from edgeseg.build.judge import FloatAnswers
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import CalibratorRow
from edgeseg.card import Card, Dialect

if TYPE_CHECKING:
    from edgeseg.build.remedies import Remedies

__all__ = ["OnProgress", "OpenRemedies", "Stock"]

OnProgress = Callable[[float, str], None]
#: What may be done to a graph of that dialect; told the share of a remedy that is done, and what is under way.
OpenRemedies = Callable[[Dialect, OnProgress], "Remedies"]


@dataclass(frozen=True)
class Stock:
    """Graphs, and frames to judge them on.

    Attributes:
        recipe: What is built, with all that is not asked for but known of the model.
        card: Of the prepared graph.
        graphs: That engines are built from.
        quantizations: How the INT8 ones are quantized to begin with.
        frames: Of the gate.
        answers: Float's to them; None where it was not asked yet.
        remedies: Opens what may be done to a graph that fails; None where it can't be changed.
        search_apart: Choices are made by other frames than the gate's.
        search_keys: Keys of those.
        calibrators: What `--calibrator auto` tried.
        warnings: A sentence each.
    """

    recipe: BuildRecipe
    card: Card
    graphs: Graphs
    quantizations: dict[Dialect, Quantization]
    frames: GateFrames
    answers: FloatAnswers | None = None
    remedies: OpenRemedies | None = None
    search_apart: bool = False
    search_keys: tuple[str, ...] = ()
    calibrators: tuple[CalibratorRow, ...] = ()
    warnings: tuple[str, ...] = ()
