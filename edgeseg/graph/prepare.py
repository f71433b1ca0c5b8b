"""From a float graph to the prepared graph that is calibrated and quantized."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from edgeseg.card import Card, Preprocess
from edgeseg.errors import EdgesegError, ModelFileError, UsageError
from edgeseg.graph.io import graph_sha256, set_card
from edgeseg.graph.passes import (
    AdoptFrames,
    CutTail,
    FoldBatchNorm,
    FoldByRuntime,
    FoldConstants,
    FreezeShape,
    GlobalPool,
    MergePointwise,
    NameNodes,
    RaisePrecision,
    SetOpset,
)
from edgeseg.labels import LabelSet, voc_palette

__all__ = ["Foreign", "prepare_graph"]


@dataclass(frozen=True)
class Foreign:
    """What only a user can know of a graph without a card.

    Attributes:
        model: Name that its artefacts get.
        preprocess: What the network was trained with.
        classes: Names and colours; None takes as many as the logits have channels.
        output: Tensor that holds the logits or labels, None where there is one output.
        threshold: For one channel: class 1 is above it, on the graph's own output.
    """

    model: str
    preprocess: Preprocess = Preprocess()
    classes: LabelSet | None = None
    output: str | None = None
    threshold: float | None = None


def prepare_graph(
    model: ir.Model,
    source: Card | Foreign,
    *,
    size_hw: tuple[int, int] | None = None,
    batch: int = 1,
) -> ir.Model:
    """The prepared graph: pixels in, logits at the decoder's own size out, every shape fixed.

    Args:
        model: A float graph, left as it is.
        source: Its card, or for a graph without one what the user says of it.
        size_hw: Input size in pixels; None takes the graph's or the card's own.
        batch: Frames per call.

    Returns:
        A new graph with one input `pixels` (see `AdoptFrames`), one output `logits` (see `CutTail`), and a card.

    Raises:
        UsageError: Size, output or classes do not fit the graph.
        ModelFileError: The graph can't be brought into this form.
    """
    prepared = model.clone()
    try:
        prepared = SetOpset()(prepared).model
        channels_last = _check_input(prepared.graph, batch)
        size = size_hw or _own_size(prepared.graph, source, channels_last)
        if channels_last:
            _transpose_input(prepared.graph)
        cut = CutTail(source.output if isinstance(source, Foreign) else None)
        steps: tuple[ir.passes.PassBase, ...] = (
            RaisePrecision(),
            FreezeShape((batch, 3, *size)),
            FoldConstants(),
            ShapeInferencePass(),
            FoldByRuntime(),
            cut,
            RemoveUnusedNodesPass(),
            FoldBatchNorm(),
            GlobalPool(),
            MergePointwise(),
            AdoptFrames(source.preprocess),
            RemoveUnusedNodesPass(),
            NameNodes(),
        )
        for step in steps:
            prepared = step(prepared).model
    except EdgesegError:
        raise
    except Exception as error:
        reason = str(error.__cause__ or error).split("\n")[0]
        raise ModelFileError(
            f"The graph can't be prepared: {reason}.", hint="Is it a valid float graph? Check it: edgeseg inspect MODEL"
        ) from error
    set_card(prepared, _card(model, prepared, source, cut, size, batch))
    return prepared


def _check_input(graph: ir.Graph, batch: int) -> bool:
    """Whether the only input has its channels last."""
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    if len(inputs) != 1:
        names = ", ".join(f"'{value.name}'" for value in inputs) or "none"
        raise UsageError(
            f"The graph has {len(inputs)} inputs ({names}); edgeseg builds networks with one, the image.",
            hint="Export it with the others as constants.",
        )
    graph.inputs[:] = inputs
    shape, dtype = inputs[0].shape, inputs[0].dtype
    text = "unknown" if shape is None else "(" + ", ".join(map(str, shape)) + ")"
    if dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        raise UsageError(
            f"The input '{inputs[0].name}' is {dtype}; a normalized float image is needed.",
            hint="Export the network without what turns bytes into floats, and say that with --mean and --std.",
        )
    if shape is None or len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise UsageError(
            f"The input '{inputs[0].name}' has shape {text}; an image of 3 channels is needed, "
            "(N, 3, H, W) or (N, H, W, 3)."
        )
    if isinstance(shape[0], int) and shape[0] > 0 and shape[0] != batch:
        raise UsageError(
            f"The graph takes {shape[0]} images at a time; edgeseg builds engines for {batch}.",
            hint="Export it with a batch of 1, or a free one.",
        )
    return bool(shape[1] != 3)


def _own_size(graph: ir.Graph, source: Card | Foreign, channels_last: bool) -> tuple[int, int]:
    shape = graph.inputs[0].shape
    if shape is not None:
        height, width = shape[1 if channels_last else 2], shape[2 if channels_last else 3]
        if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
            return height, width
    if isinstance(source, Card) and source.size_hw is not None:
        return source.size_hw
    raise UsageError("The graph takes images of any size.", hint="Say which size to build for: --imgsz 360x640")


def _transpose_input(graph: ir.Graph) -> None:
    """Put a channels-first input before a graph whose image has its channels last."""
    old = graph.inputs[0]
    if old.shape is None:
        return
    first = ir.Value(
        name=f"{old.name}.channels_first",
        shape=ir.Shape([old.shape[0], old.shape[3], old.shape[1], old.shape[2]]),
        type=old.type,
    )
    node = ir.node("Transpose", [first], {"perm": [0, 2, 3, 1]}, name="image.transpose")
    node.outputs[0].name, node.outputs[0].type = f"{old.name}.channels_last", old.type
    ir.convenience.replace_all_uses_with(old, node.outputs[0])
    graph.inputs[0] = first
    graph.insert_before(graph[0], node)


def _card(
    model: ir.Model, prepared: ir.Model, source: Card | Foreign, cut: CutTail, size: tuple[int, int], batch: int
) -> Card:
    channels = _channels(prepared)
    made_from = {"graph": graph_sha256(model)}
    if isinstance(source, Card):
        if channels != source.num_classes and channels != 1:
            raise ModelFileError(f"The card names {source.num_classes} classes, the logits have {channels} channels.")
        upsampling = cut.tail.coordinates if cut.tail.resized else source.upsampling
        return msgspec.structs.replace(
            source,
            kind="prepared",
            size_hw=size,
            batch=batch,
            upsampling=upsampling,
            made_from={**source.made_from, **made_from},
        )
    count = max(2, channels)
    classes = source.classes or LabelSet(tuple(f"class {i}" for i in range(count)), voc_palette(count + 1)[1:])
    if len(classes) != count:
        found = "one channel, which makes two classes" if channels == 1 else f"{channels} channels"
        raise UsageError(
            f"{len(classes)} classes were given, but the logits have {found}.",
            hint="Give as many names as there are classes with --classes, or name another tensor with --output.",
        )
    return Card(
        kind="prepared",
        model=source.model,
        classes=classes.names,
        palette=classes.palette,
        size_hw=size,
        batch=batch,
        preprocess=source.preprocess,
        logit="threshold" if channels == 1 else "softmax",
        threshold=cut.tail.threshold_on_logits(source.threshold) if channels == 1 else 0.0,
        probabilities=cut.tail.probabilities,
        upsampling=cut.tail.coordinates,
        made_from=made_from,
    )


def _channels(prepared: ir.Model) -> int:
    shape = prepared.graph.outputs[0].shape
    if shape is None or len(shape) != 4 or not shape.is_static():
        raise ModelFileError(
            f"The shape of the logits can't be told, only {shape}: something in the graph depends on the image.",
            hint="Name the tensor with one channel per class: --output NAME, or export with a fixed size.",
        )
    return int(shape.numpy()[1])
