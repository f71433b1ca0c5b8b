"""The graph that an engine is built from: quantized, with head and tail, and typed as its library wants it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import onnx_ir as ir

from edgeseg.backends.form import GraphForm
from edgeseg.build.graph_facts import GraphFacts, Quantization
from edgeseg.card import Int8Recipe, Upsample
from edgeseg.files import sha256_bytes
from edgeseg.graph.attach import HEAD_LARGEST, attach_head_and_tail
from edgeseg.graph.batch import set_batch
from edgeseg.graph.half_precision import type_in_half
from edgeseg.graph.io import graph_sha256, require_card, save_graph
from edgeseg.quantize.calibration_cache import cache_entries
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.equalize import equalize

__all__ = ["MadeGraphs", "count_convs", "depthwise_convs", "make_engine_graph"]

CONVS = ("Conv", "ConvTranspose")
HEAVY = (*CONVS, "Gemm", "MatMul")


@dataclass(frozen=True)
class MadeGraphs:
    """Graphs that are made of a prepared one. `upsample` is the size at which the best class is picked."""

    prepared: ir.Model
    upsample: Upsample
    #: All graphs can be made.
    hint: str = ""

    def has(self, form: GraphForm) -> bool:
        """See `Graphs.has`: all, but that depthwise convolutions can't be spared without any, nor by a cache."""
        return not form.spare_depthwise or (not form.cache and bool(depthwise_convs(self.prepared)))

    def write(self, form: GraphForm, quantization: Quantization | None, path: Path) -> GraphFacts:
        """See `Graphs.write`."""
        model, facts = make_engine_graph(self.prepared, quantization, form, self.upsample)
        save_graph(model, path, facts.card)
        return facts


def make_engine_graph(
    prepared: ir.Model, quantization: Quantization | None, form: GraphForm, upsample: Upsample
) -> tuple[ir.Model, GraphFacts]:
    """The graph of one form, and what is known of it.

    Args:
        prepared: Float graph.
        quantization: How it is quantized; None leaves it in float.
        form: What the graph shall look like.
        upsample: Size at which the best class is picked.

    Raises:
        UsageError: No such calibrator or node.
        ModelFileError: The ranges are of other weights, or the graph can't be quantized or typed.
    """
    graph, cache, recipe = prepared, None, quantization.recipe if quantization is not None else Int8Recipe()
    if quantization is not None and form.cache:
        graph, plain = equalize(prepared, recipe.equalization), recipe.without_arrays()
        cache = cache_entries(graph, quantization.ranges, plain, more=HEAD_LARGEST)
    elif quantization is not None:
        followed = _spared(recipe, prepared) if form.spare_depthwise else recipe
        graph = quantize_onnx(prepared, quantization.ranges, dialect=form.dialect, recipe=followed)
    whole = attach_head_and_tail(graph, head=form.head, tail=form.tail, upsample=upsample)
    if (form.batch, form.free_batch) != (1, False):
        whole = set_batch(whole, None if form.free_batch else form.batch)
    card = msgspec.structs.replace(require_card(whole), batch=form.batch)
    measured = card.measured
    if form.half:
        whole, small = type_in_half(whole)
        measured = measured | ({"scales_in_float32": small} if small else {})
    quantized, total, floats = count_convs(whole)
    made_from = card.made_from
    if form.cache and quantization is not None and cache is not None:
        quantized, floats = tuple(node.name or "" for node in whole.graph if node.op_type in CONVS), ()
        made_from = {**made_from, "ranges": quantization.ranges.sha256(), "calibration_cache": sha256_bytes(cache)}
    digest = graph_sha256(whole)
    card = msgspec.structs.replace(
        card,
        int8=card.int8 if quantization is not None else {},
        made_from={**made_from, "engine_graph": digest},
        dialect=form.dialect,
        measured=measured,
    )
    return whole, GraphFacts(
        card=card, sha256=digest, quantized=quantized, total_convs=total, float_nodes=floats, cache=cache
    )


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
