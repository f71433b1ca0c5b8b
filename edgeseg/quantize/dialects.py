"""From a prepared graph and its ranges to a Q/DQ graph in one dialect."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx_ir.passes.common import ShapeInferencePass
from onnxruntime.quantization import QuantType

from edgeseg import __version__
from edgeseg.card import Dialect, Int8Recipe
from edgeseg.errors import ModelFileError, UsageError, nearest
from edgeseg.graph.io import graph_card, graph_sha256, set_card
from edgeseg.graph.passes.adopt_frames import PIXELS
from edgeseg.quantize.calibrators import Threshold, thresholds
from edgeseg.quantize.correction import add_to_biases
from edgeseg.quantize.equalize import equalize
from edgeseg.quantize.qdq import ALL_OPERATORS, Form, insert_qdq
from edgeseg.quantize.ranges import Ranges, check_ranges
from edgeseg.quantize.rules import (
    WEIGHTED,
    FloatResidual,
    constant_operands,
    float_nodes,
    share_concat_limits,
    with_parts,
)

__all__ = ["DIALECTS", "activation_limits", "check_quantizable", "quantize_onnx"]

logger = logging.getLogger(__name__)
Limits = dict[str, Threshold]
DEFAULT = Int8Recipe()


@dataclass(frozen=True)
class _Rules:
    """One dialect.

    Attributes:
        form: How Q/DQ nodes are placed.
        pixels: Limits of the input that make its scale exactly 1, so that whole numbers from -128 to 127 pass unharmed.
        limits: Last change of the thresholds.
        keep_float: Nodes to leave in float beyond those of every dialect.
        finish: Passes over the Q/DQ graph.
    """

    form: Form
    pixels: Threshold
    limits: Callable[[ir.Graph, Limits], Limits] = lambda _, limits: limits
    keep_float: Callable[[ir.Graph], set[str]] = lambda _: set()
    finish: tuple[ir.passes.InPlacePass, ...] = ()


#: ONNX Runtime computes a bilinear Resize of bytes more slowly than in float, and cuts its results off instead of
#: rounding them. With a range of its own on its output, it stays in float.
_UNSIGNED = tuple(name for name in ALL_OPERATORS if name != "Resize")
#: What TensorRT has eight-bit kernels for. Other operators take part by standing between two of these.
_TENSORRT = ("Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "MatMul", "MaxPool")

DIALECTS: dict[Dialect, _Rules] = {
    "u8-asym": _Rules(Form(QuantType.QUInt8, _UNSIGNED), pixels=(-128.0, 127.0)),
    "u8-asym-reduced": _Rules(Form(QuantType.QUInt8, _UNSIGNED, reduce_range=True), pixels=(-128.0, 127.0)),
    "s8-sym": _Rules(
        Form(
            QuantType.QInt8,
            _TENSORRT,
            inputs_only=True,
            options={
                "ActivationSymmetric": True,
                "QuantizeBias": False,
                "QDQOpTypePerChannelSupportToAxis": {"Conv": 0, "ConvTranspose": 1},
            },
        ),
        pixels=(-127.0, 127.0),
        limits=share_concat_limits,
        keep_float=lambda graph: constant_operands(graph, "Add"),
        finish=(FloatResidual(),),
    ),
}


def quantize_onnx(
    prepared: ir.Model,
    ranges: Ranges,
    *,
    dialect: Dialect,
    recipe: Int8Recipe = DEFAULT,
) -> ir.Model:
    """The Q/DQ graph of a prepared graph. The same arguments give the same bytes.

    Input, classifier and logits stay float, and all tensors keep their names.

    Args:
        prepared: As `prepare_graph` gives it; left as it is.
        ranges: Measured on the same weights, equalized where the recipe says so. Whether the size is another tells
            `check_ranges`.
        dialect: `u8-asym` (unsigned activations, all operators, for CPUs), `u8-asym-reduced` (7-bit weights, for x86
            without VNNI), or `s8-sym` (signed, zero point 0, float bias, Q/DQ on inputs alone: TensorRT).
        recipe: Calibrator, changes of the weights, and which nodes stay in float.

    Raises:
        UsageError: No such dialect, calibrator or node.
        ModelFileError: The ranges belong to other weights, the graph has nothing to quantize, or it can't be.
    """
    if dialect not in DIALECTS:
        raise UsageError(f"There is no INT8 dialect '{dialect}'.", hint=nearest(dialect, DIALECTS))
    rules, model = DIALECTS[dialect], equalize(prepared, recipe.equalization)
    if warning := check_ranges(ranges, model):
        logger.info(warning)
    ShapeInferencePass()(model)
    check_quantizable(model.graph)
    _check_names(model.graph, recipe.keep_float)
    limits = _limits(model, ranges, recipe, dialect)
    kept = float_nodes(model.graph) | rules.keep_float(model.graph) | set(recipe.keep_float)
    add_to_biases(model.graph, recipe.corrections)
    try:
        quantized = _emit(model, limits, rules, kept, per_tensor=recipe.per_tensor)
    except (ValueError, TypeError, RuntimeError, ir.passes.PassError, onnx.checker.ValidationError) as error:
        reason = str(error).split("\n")[0]
        raise ModelFileError(f"The graph can't be quantized to {dialect}: {reason}") from error
    _write_card(quantized, prepared, ranges, dialect, recipe)
    return quantized


def activation_limits(prepared: ir.Model, ranges: Ranges, recipe: Int8Recipe, dialect: Dialect) -> Limits:
    """The range that each tensor's eight bits cover in a dialect, by its name.

    Raises:
        UsageError: There is no such calibrator.
        ModelFileError: The ranges belong to other weights.
    """
    model = equalize(prepared, recipe.equalization)
    check_ranges(ranges, model)
    return _limits(model, ranges, recipe, dialect)


def _limits(model: ir.Model, ranges: Ranges, recipe: Int8Recipe, dialect: Dialect) -> Limits:
    measured = {**thresholds(ranges, recipe.calibrator, dialect), PIXELS: DIALECTS[dialect].pixels}
    return DIALECTS[dialect].limits(model.graph, with_parts(model.graph, measured))


def _emit(model: ir.Model, limits: Limits, rules: _Rules, kept: set[str], *, per_tensor: bool) -> ir.Model:
    quantized = insert_qdq(model, limits, rules.form, kept, per_tensor=per_tensor)
    for step in (*rules.finish, ShapeInferencePass()):
        step(quantized)
    onnx.checker.check_model(ir.to_proto(quantized), full_check=True)
    return quantized


def check_quantizable(graph: ir.Graph) -> None:
    """Refuse a graph that eight bits can do nothing for.

    Raises:
        ModelFileError: No operator has weights.
    """
    if not any(node.op_type in WEIGHTED for node in graph):
        raise ModelFileError(
            "The graph has no convolution and no other operator with weights: there is nothing to quantize.",
            hint="Build it in float: edgeseg build MODEL --fp32",
        )


def _check_names(graph: ir.Graph, keep_float: Collection[str]) -> None:
    names = {node.name for node in graph if node.name}
    for name in keep_float:
        if name not in names:
            raise UsageError(f"The graph has no node '{name}' to keep in float.", hint=nearest(name, names))


def _write_card(quantized: ir.Model, prepared: ir.Model, ranges: Ranges, dialect: Dialect, recipe: Int8Recipe) -> None:
    card = graph_card(prepared)
    if card is None:
        return
    made_from = {**card.made_from, "prepared": graph_sha256(prepared), "ranges": ranges.sha256()}
    tools = {**card.tools, "edgeseg": __version__, "numpy": np.__version__, "onnxruntime": ort.__version__}
    card = msgspec.structs.replace(
        card,
        kind="quantized",
        precision="int8",
        dialect=dialect,
        int8={dialect: recipe.without_arrays()},
        made_from=made_from,
        tools=tools,
    )
    set_card(quantized, card)
