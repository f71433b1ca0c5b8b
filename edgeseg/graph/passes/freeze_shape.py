"""Give the graph's input one fixed shape."""

from __future__ import annotations

import onnx_ir as ir

from edgeseg.errors import UsageError

__all__ = ["FreezeShape"]


class FreezeShape(ir.passes.InPlacePass):
    """Set the shape of the only input and forget the shapes of everything else.

    1. A symbolic dimension, or one that an exporter wrote as -1, takes the value asked for.
    2. A fixed one must be equal to it.

    Args:
        shape: All four dimensions.
    """

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        value = model.graph.inputs[0]
        for wanted, found in zip(self.shape, value.shape or (), strict=True):
            if isinstance(found, int) and found > 0 and found != wanted:
                raise UsageError(
                    f"The graph's input '{value.name}' is fixed to {_text(value.shape)}; "
                    f"{_text(self.shape)} was asked for.",
                    hint="Leave --imgsz out to take its own size, or export it with batch 1 and free height and width.",
                )
        value.shape = ir.Shape(self.shape)
        for node in model.graph:
            for output in node.outputs:
                output.shape = None
        return ir.passes.PassResult(model, modified=True)


def _text(shape: object) -> str:
    return "x".join(str(dim) for dim in shape) if isinstance(shape, (tuple, ir.Shape)) else str(shape)
