"""The graph that an engine is built from: quantized, with head and tail, and typed as its library wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import onnx_ir as ir

from edgeseg.backends import Backend, EngineOptions
from edgeseg.card import Card, Dialect, Int8Recipe, TailLayout, Upsample
from edgeseg.graph.attach import HEAD_LARGEST, attach_head_and_tail
from edgeseg.graph.half_precision import type_in_half
from edgeseg.graph.io import require_card
from edgeseg.quantize.calibration_cache import calibration_cache
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.equalize import equalize
from edgeseg.quantize.ranges import Ranges

__all__ = ["EngineGraph", "Quantization", "count_convs", "depthwise_convs", "make_engine_graph"]

CONVS = ("Conv", "ConvTranspose")
HEAVY = (*CONVS, "Gemm", "MatMul")


@dataclass(frozen=True)
class Quantization:
    """How a graph is quantized: a recipe, and the ranges that it goes with."""

    recipe: Int8Recipe
    ranges: Ranges


@dataclass(frozen=True)
class EngineGraph:
    """What an engine is built from.

    Attributes:
        card: Of the graph.
        quantized: Names of the convolutions in INT8.
        total_convs: All convolutions.
        float_nodes: Convolutions and other heavy operators that stay in float.
        cache: Calibration cache, where INT8 does not stand in the graph.
        told: What goes onto the card: scales that had to stay in float32.
    """

    model: ir.Model
    card: Card
    quantized: tuple[str, ...]
    total_convs: int
    float_nodes: tuple[str, ...]
    cache: bytes | None
    told: dict[str, Any]


def make_engine_graph(
    prepared: ir.Model,
    quantization: Quantization | None,
    dialect: Dialect,
    backend: Backend,
    options: EngineOptions,
    *,
    spare_depthwise: bool,
    tail: TailLayout,
    upsample: Upsample,
) -> EngineGraph:
    """The graph of one candidate.

    Args:
        prepared: Float graph.
        quantization: How it is quantized; None leaves it in float.
        dialect: Form of INT8.
        backend: Whose head and types it gets.
        options: Precision of what stays in float.
        spare_depthwise: Leave depthwise convolutions in float too.
        tail: Where the best class is sought.
        upsample: Size at which it is.

    Raises:
        UsageError: No such calibrator or node.
        ModelFileError: The ranges are of other weights, or the graph can't be quantized or typed.
    """
    graph, cache, recipe = prepared, None, quantization.recipe if quantization is not None else Int8Recipe()
    by_cache = quantization is not None and backend.wants_cache(options)
    if quantization is not None and by_cache:
        graph, plain = equalize(prepared, recipe.equalization), recipe.without_arrays()
        cache = calibration_cache(graph, quantization.ranges, plain, backend.version(), more=HEAD_LARGEST)
    elif quantization is not None:
        followed = _spared(recipe, prepared) if spare_depthwise else recipe
        graph = quantize_onnx(prepared, quantization.ranges, dialect=dialect, recipe=followed)
    whole = attach_head_and_tail(graph, head=backend.head, tail=tail, upsample=upsample)
    card = require_card(whole)
    quantized, total, floats = count_convs(whole)
    if by_cache:
        quantized, floats = tuple(node.name or "" for node in whole.graph if node.op_type in CONVS), ()
    told: dict[str, Any] = {}
    if backend.typed and options.precision == "fp16" and not by_cache:
        whole, small = type_in_half(whole)
        told = {"scales_in_float32": small} if small else {}
    return EngineGraph(whole, card, quantized, total, floats, cache, told)


def depthwise_convs(model: ir.Model) -> tuple[str, ...]:
    """Names of the convolutions with one input channel per group."""
    convs = (node for node in model.graph if node.op_type == "Conv" and node.inputs[1] is not None)
    shapes = ((node, node.inputs[1].shape, node.attributes.get_int("group", 1)) for node in convs if node.inputs[1])
    return tuple(node.name or "" for node, shape, groups in shapes if shape is not None and groups > 1 == shape[1])


def _spared(recipe: Int8Recipe, prepared: ir.Model) -> Int8Recipe:
    """The same recipe with the depthwise convolutions in float."""
    spared = dict.fromkeys((*recipe.keep_float, *depthwise_convs(prepared)))
    return msgspec.structs.replace(recipe, keep_float=tuple(spared))


def count_convs(engine_graph: ir.Model) -> tuple[tuple[str, ...], int, tuple[str, ...]]:
    """Names of convolutions with Q/DQ on input and weights, count of all, and names of heavy operators without."""
    convs = [node for node in engine_graph.graph if node.op_type in CONVS]
    quantized = tuple(node.name or "" for node in convs if _is_quantized(node))
    floats = tuple(
        node.name or node.op_type for node in engine_graph.graph if node.op_type in HEAVY and not _is_quantized(node)
    )
    return quantized, len(convs), floats


def _is_quantized(node: ir.Node) -> bool:
    producers = [value.producer() for value in node.inputs[:2] if value is not None]
    return len(producers) == 2 and all(made is not None and made.op_type == "DequantizeLinear" for made in producers)
