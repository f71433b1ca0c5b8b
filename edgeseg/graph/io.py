"""Graphs from and to files, their cards and their hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, TopologicalSortPass

from edgeseg.card import KEY, Card, decode_card, encode_card
from edgeseg.errors import ModelFileError
from edgeseg.files import atomic_path, refuse_outside_data
from edgeseg.graph.values import cuts_edge

__all__ = ["graph_card", "graph_sha256", "load_graph", "require_card", "save_graph", "set_card", "weights_sha256"]

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


def load_graph(path: str | Path) -> ir.Model:
    """The graph in an ONNX file, with all its weights in memory and its nodes in order.

    Raises:
        ModelFileError: The file is missing, damaged, no ONNX, or names data outside of its folder.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"There is no model file at {path}.", hint="Check the path, or see: edgeseg models")
    refuse_outside_data(path)
    try:
        model = ir.load(path)
        ir.external_data.load_to_model(model)
        TopologicalSortPass()(model)
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise ModelFileError(f"The model {path} could not be read: {reason}", hint="Export it again.") from error
    return model


def save_graph(model: ir.Model, path: str | Path, card: Card | None = None) -> None:
    """Write a graph with its weights inside the file, whole or not at all; `card` replaces its card."""
    if card is not None:
        set_card(model, card)
    content = ir.to_proto(model).SerializeToString(deterministic=True)
    with atomic_path(Path(path)) as part:
        part.write_bytes(content)


def graph_card(model: ir.Model) -> Card | None:
    """The card in a graph's metadata, None where there is none.

    Raises:
        ModelFileError: There is one that can't be read.
    """
    text = model.metadata_props.get(KEY)
    return None if text is None else decode_card(text, where=model.graph.name or "the graph")


def require_card(model: ir.Model) -> Card:
    """The card in the metadata of a graph that edgeseg made.

    Raises:
        ModelFileError: There is none, or it can't be read.
    """
    card = graph_card(model)
    if card is None:
        raise ModelFileError(
            f"The graph '{model.graph.name}' has no card.", hint="Begin with the float model: edgeseg build MODEL"
        )
    return card


def set_card(model: ir.Model, card: Card) -> None:
    """Put a card into a graph's metadata."""
    model.metadata_props[KEY] = encode_card(card)


def graph_sha256(model: ir.Model) -> str:
    """Canonical hash: nodes, weights and shapes, without metadata, so that writing a card changes nothing."""
    bare = model.clone()
    ClearMetadataAndDocStringPass()(bare)
    proto: onnx.ModelProto = ir.to_proto(bare)
    proto.ClearField("metadata_props")
    for field in ("producer_name", "producer_version", "doc_string", "domain", "model_version"):
        proto.ClearField(field)
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()


def weights_sha256(model: ir.Model) -> str:
    """Hash of the weights' contents and of all tensors' names, the same for every input size and pixel format."""
    digest = hashlib.sha256()
    reversed_constants = _in_camera_order(model)
    for node in (node for node in model.graph if not cuts_edge(node)):
        digest.update("\0".join([node.op_type, *(value.name or "" for value in node.outputs)]).encode())
        if node.op_type in ("Resize", "Upsample"):
            continue
        for value in node.inputs:
            tensor = value.const_value if value is not None else None
            if tensor is not None and tensor.dtype in FLOATS:
                array = tensor.numpy()
                if node.op_type == "MatMul" and _takes_means(array):
                    continue
                digest.update(np.ascontiguousarray(array[:, ::-1] if value in reversed_constants else array).tobytes())
    return digest.hexdigest()


def _takes_means(matrix: npt.NDArray[np.float32]) -> bool:
    """Whether each column takes the mean of some places of a row, as in adaptive pooling: it follows the size."""
    counted = matrix > 0
    places = counted.sum(0)
    return bool(matrix.ndim == 2 and places.all() and np.allclose(matrix, counted / places))


def _in_camera_order(model: ir.Model) -> set[ir.Value]:
    """Constants of a prepared graph for rgb frames whose second dimension follows the camera's channels.

    They are those that pixels meet up to the first convolutions. Graphs for bgr and bgrx frames have none to turn.
    """
    card = graph_card(model)
    if card is None or card.kind not in ("prepared", "quantized") or card.preprocess.pixel_format != "rgb":
        return set()
    found: set[ir.Value] = set()
    waiting = list(model.graph.inputs)
    while waiting:
        for node, index in waiting.pop().uses():
            if node.op_type in ("Add", "Mul", "Conv"):
                constant = node.inputs[1 - index]
                if constant is not None and constant.const_value is not None:
                    found.add(constant)
            if node.op_type in ("Add", "Mul"):
                waiting += node.outputs
    return found
