"""What a build knows of the graphs that its engines are built from, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from edgeseg.backends.form import GraphForm
from edgeseg.card import Card, Int8Recipe

if TYPE_CHECKING:
    from edgeseg.quantize.ranges import Ranges

__all__ = ["GraphFacts", "Graphs", "Quantization"]


@dataclass(frozen=True)
class Quantization:
    """How a graph is quantized: a recipe, and the ranges that it goes with."""

    recipe: Int8Recipe
    ranges: Ranges


class GraphFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One graph that an engine is built from.

    Attributes:
        card: The one in its file.
        sha256: Its canonical hash.
        quantized: Names of the convolutions in INT8.
        total_convs: All convolutions.
        float_nodes: Convolutions and other heavy operators that stay in float.
        cache: Calibration cache without its header, where INT8 does not stand in the graph.
    """

    card: Card
    sha256: str
    quantized: tuple[str, ...]
    total_convs: int
    float_nodes: tuple[str, ...]
    cache: bytes | None = None


class Graphs(Protocol):
    """Where the graphs of a build come from."""

    @property
    def hint(self) -> str:
        """What to do where a graph that is wanted is missing."""

    def has(self, form: GraphForm) -> bool:
        """Whether there is a graph of that form."""

    def write(self, form: GraphForm, quantization: Quantization | None, path: Path) -> GraphFacts:
        """Write the ONNX file of that form, with its card inside.

        Raises:
            UsageError: No such calibrator or node.
            ModelFileError: The ranges are of other weights, or the graph can't be quantized or typed.
        """
