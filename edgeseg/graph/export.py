"""From a torch network to an ONNX graph, compared before it is kept."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx_ir as ir

from edgeseg.card import Card
from edgeseg.errors import EdgesegError
from edgeseg.graph.io import set_card
from edgeseg.graph.passes import FoldConstants, NameNodes, SetOpset

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TOLERANCE", "export_onnx", "relative_error"]

#: Largest relative error ‖onnx - torch‖ / ‖torch‖ of the logits.
TOLERANCE = 1e-4


def export_onnx(net: nn.Module, card: Card) -> ir.Model:
    """The float graph of a network: normalized images in, logits at the images' size out.

    Batch, height and width are symbolic (`N`, `H`, `W`), so that a board without torch can choose them. The
    graph is run on ONNX Runtime at two sizes and compared with torch.

    Args:
        net: In eval mode, images `(N, 3, H, W)` to logits `(N, C, H, W)`.
        card: Of the network; its `tools` get the exporter's version.

    Raises:
        EdgesegError: The graph does not compute what the network does.
    """
    import torch

    example = torch.zeros(2, 3, 96, 160)
    free = torch.export.Dim.DYNAMIC
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            net.eval(),
            (example,),
            dynamo=True,
            opset_version=18,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: free, 2: free, 3: free},),
            verbose=False,
        )
    if program is None:
        raise EdgesegError("torch.onnx.export gave no graph.")
    model = SetOpset()(ir.from_proto(program.model_proto)).model
    for step in (FoldConstants(), NameNodes()):
        step(model)
    _name_dimensions(model)
    model.graph.name = card.model
    set_card(model, msgspec.structs.replace(card, tools={**card.tools, "torch": str(torch.__version__)}))
    for height, width in ((96, 160), (101, 127)):
        error = relative_error(net, model, (1, 3, height, width))
        if not error < TOLERANCE:
            raise EdgesegError(
                f"The exported graph differs from the network: relative error {error:.1e} at {height}x{width}, "
                f"{TOLERANCE:.0e} is allowed.",
                hint="Another version of torch or onnxscript may export it right.",
            )
    return model


def relative_error(net: nn.Module, model: ir.Model, shape: tuple[int, int, int, int]) -> float:
    """‖onnx - torch‖ / ‖torch‖ of the logits of a random normal image of that shape."""
    import onnxruntime
    import torch

    image = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(image)).numpy()
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: image})[0]
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _name_dimensions(model: ir.Model) -> None:
    """Call the free dimensions of input and output N, H and W."""
    image, logits = model.graph.inputs[0], model.graph.outputs[0]
    classes = logits.shape[1] if logits.shape is not None else None
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    image.shape = ir.Shape(["N", 3, "H", "W"])
    logits.shape = ir.Shape(["N", classes, "H", "W"])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its progress and warns of missing packages; keep that off the terminal."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
