"""Where a build begins: a shipped model, an ONNX file, or a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import onnx_ir as ir

from edgeseg.build.recipe import PREPROCESSING, BuildRecipe, preprocess_of, refuse_options
from edgeseg.card import Card
from edgeseg.catalog import ranges_beside, zoo_models
from edgeseg.errors import ModelFileError, UsageError, nearest
from edgeseg.graph.io import graph_card, load_graph
from edgeseg.graph.prepare import Foreign
from edgeseg.labels import label_set

__all__ = ["OpenedModel", "open_model"]

CHECKPOINTS = (".safetensors", ".pth", ".pt")
#: What only a user can know of a graph without a card, and of weights.
GRAPH_OPTIONS = ("output", "threshold")
WEIGHTS_OPTIONS = ("network", "classes")


@dataclass(frozen=True)
class OpenedModel:
    """A float graph, what is known of it, and where its ranges lie if it has any.

    Attributes:
        shipped: It is one of edgeseg's own models.
    """

    graph: ir.Model
    about: Card | Foreign
    ranges: Path | None
    shipped: bool


def open_model(recipe: BuildRecipe) -> OpenedModel:
    """The float graph that a recipe names.

    Raises:
        UsageError: There is no such model, or the options do not fit it.
        ModelFileError: The file is damaged, untrusted, or no float graph.
        MissingDependency: A checkpoint needs torch, which is not installed.
    """
    path = Path(recipe.model)
    zoo = zoo_models()
    if recipe.model in zoo:
        return _from_onnx(zoo[recipe.model], recipe, shipped=True)
    if path.suffix == ".onnx" and path.is_file():
        return _from_onnx(path, recipe, shipped=False)
    if path.suffix in CHECKPOINTS and path.is_file():
        from edgeseg.build.checkpoint import export_checkpoint

        refuse_options(recipe, GRAPH_OPTIONS, "is a checkpoint of a network that edgeseg knows")
        graph = export_checkpoint(recipe)
        return OpenedModel(graph, _with_options(graph_card(graph), recipe), None, shipped=False)
    if path.suffix in (".onnx", *CHECKPOINTS) or path.exists():
        what = "is no .onnx file or checkpoint" if path.exists() else "does not exist"
        raise UsageError(
            f"The model {path} {what}.", hint=f"Give an .onnx file, a checkpoint ({', '.join(CHECKPOINTS)}) or a name."
        )
    raise UsageError(
        f"There is no model '{recipe.model}'.",
        hint=f"{nearest(recipe.model, zoo)} Or give the path of an .onnx file. See: edgeseg models",
    )


def _from_onnx(path: Path, recipe: BuildRecipe, *, shipped: bool) -> OpenedModel:
    graph = load_graph(path)
    card = graph_card(graph)
    if any(node.op_type in ("QuantizeLinear", "QLinearConv", "ConvInteger") for node in graph.graph):
        raise ModelFileError(
            f"{path} is quantized already; edgeseg quantizes for each backend by itself.",
            hint="Give the float graph that it was made from.",
        )
    ranges = ranges_beside(path)
    found = ranges if ranges.is_file() else None
    if card is not None:
        refuse_options(recipe, (*PREPROCESSING, *GRAPH_OPTIONS, *WEIGHTS_OPTIONS), "has a card that says all this")
        return OpenedModel(graph, _with_options(card, recipe), found, shipped)
    refuse_options(recipe, ("network",), "is a graph, whatever made it")
    classes = label_set(recipe.classes) if recipe.classes else None
    about = Foreign(path.stem, preprocess_of(recipe), classes, recipe.output, recipe.threshold)
    return OpenedModel(graph, about, found, shipped)


def _with_options(card: Card | None, recipe: BuildRecipe) -> Card:
    if card is None or card.kind != "graph":
        raise ModelFileError(
            f"{recipe.model} is {card and card.kind}, not a float graph.", hint="Give the graph it was made from."
        )
    preprocess = msgspec.structs.replace(
        card.preprocess,
        pixel_format=recipe.pixel_format or card.preprocess.pixel_format,
        resize=recipe.resize or card.preprocess.resize,
    )
    return msgspec.structs.replace(card, preprocess=preprocess)
