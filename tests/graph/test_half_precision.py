"""Half precision written into graphs: what changes, what stays, and that the graph still computes the same."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx_ir as ir
import onnxruntime

from edgeseg.build.engine_graph import count_convs
from edgeseg.build.gate import golden_frame
from edgeseg.build.prepared import open_prepared
from edgeseg.build.recipe import BuildRecipe
from edgeseg.catalog import ranges_beside, zoo_model, zoo_models
from edgeseg.graph.attach import attach_head_and_tail
from edgeseg.graph.half_precision import OPSET, SMALLEST, type_in_half
from edgeseg.graph.io import require_card
from edgeseg.graph.values import add_constant
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.ranges import load_ranges
from tests.quantize.tiny import prepared, ranges


def class_map(model: ir.Model, frame: np.ndarray) -> np.ndarray:
    """On ONNX Runtime without its optimizations, which compute such graphs wrongly."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"frame": frame})[0])


#: The smallest is tested always.
MODELS = [pytest.param(name, marks=() if name == "liteseg-nano-camvid" else pytest.mark.slow) for name in zoo_models()]


@pytest.fixture(scope="module", params=MODELS)
def shipped(request: pytest.FixtureRequest) -> dict[str, ir.Model]:
    """A shipped model from frames to class maps, in float and quantized as it is for TensorRT."""
    prepared = open_prepared(BuildRecipe(model=request.param))[1]
    found = load_ranges(ranges_beside(zoo_model(request.param)))
    quantized = quantize_onnx(prepared, found, dialect="s8-sym", recipe=require_card(prepared).int8["s8-sym"])
    graphs = {"float": prepared, "s8-sym": quantized}
    return {name: attach_head_and_tail(graph, head="cast", upsample="half") for name, graph in graphs.items()}


@pytest.mark.parametrize(("dialect", "share"), [("float", 0.999), ("s8-sym", 0.99)])
def test_a_shipped_model_gives_the_same_classes(dialect: str, share: float, shipped: dict[str, ir.Model]) -> None:
    version = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
    if dialect == "s8-sym" and version < (1, 24):
        pytest.skip("ONNX Runtime 1.23, the last for Python 3.10, rounds otherwise where it quantizes half precision")
    whole = shipped[dialect]
    frame = golden_frame(require_card(whole))
    assert (class_map(whole, frame) == class_map(type_in_half(whole)[0], frame)).mean() >= share


def scales(model: ir.Model) -> dict[str, np.ndarray]:
    """Of every QuantizeLinear and DequantizeLinear, by its name."""
    found = {}
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.inputs[1] is not None:
            tensor = ir.convenience.get_const_tensor(node.inputs[1])
            assert tensor is not None
            found[node.name or ""] = tensor.numpy()
    return found


def test_weights_whose_scales_would_underflow_get_larger_ones(shipped: dict[str, ir.Model]) -> None:
    before, (typed, small) = scales(shipped["s8-sym"]), type_in_half(shipped["s8-sym"])
    assert min(scale.min() for scale in before.values()) < SMALLEST, "else this shows nothing"
    assert small == ()
    assert all(scale.dtype == np.float16 and scale.min() >= SMALLEST for scale in scales(typed).values())
    assert count_convs(typed) == count_convs(shipped["s8-sym"]), "no Cast stands before a convolution"


def test_activations_whose_scales_would_underflow_stay_in_float32_and_are_named() -> None:
    model = attach_head_and_tail(quantize_onnx(prepared(), ranges(), dialect="s8-sym"), head="cast", upsample="half")
    node = next(node for node in model.graph if node.op_type == "QuantizeLinear")
    reader, _ = node.outputs[0].uses()[0]
    for one in (node, reader):
        tiny = add_constant(model.graph, f"{one.name}.tiny", np.float32(SMALLEST / 2))
        one.replace_input_with(1, tiny)
    typed, small = type_in_half(model)
    assert set(small) == {node.name, reader.name}
    assert {name for name, scale in scales(typed).items() if scale.dtype == np.float32} == set(small)


def test_the_ends_stay_bytes_and_all_between_is_half(shipped: dict[str, ir.Model]) -> None:
    typed, _ = type_in_half(shipped["float"])
    assert [value.dtype for value in (*typed.graph.inputs, *typed.graph.outputs)] == 2 * [ir.DataType.UINT8]
    assert typed.opset_imports[""] == OPSET
    weights = [value.const_value for value in typed.graph.initializers.values()]
    floats = [one for one in weights if one is not None and one.dtype == ir.DataType.FLOAT]
    assert all(one.size <= 4 for one in floats), "the scales of a Resize at most"


def test_the_graph_that_is_given_stays_as_it_was() -> None:
    model = quantize_onnx(prepared(), ranges(), dialect="s8-sym")
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    type_in_half(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
