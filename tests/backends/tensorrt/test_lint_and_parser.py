"""Each rule that a graph is linted by, beside what TensorRT's real parser and builder say of a graph that breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

import onnx_ir as ir

from edgeseg.backends.tensorrt.parent import build_plan
from edgeseg.backends.tensorrt.request import Answer, Request
from edgeseg.errors import ModelFileError
from edgeseg.graph.half_precision import type_in_half
from edgeseg.quantize.dialects import quantize_onnx
from tests.engines import installed
from tests.quantize.broken import BROKEN, Broken
from tests.quantize.tiny import prepared, ranges


@pytest.fixture
def quantized() -> ir.Model:
    installed("tensorrt-rtx")
    return quantize_onnx(prepared(), ranges(), dialect="s8-sym")


def build(model: ir.Model, folder: Path) -> Answer:
    ir.save(model, folder / "graph.onnx")
    paths = {"graph": str(folder / "graph.onnx")} | {name: str(folder / name) for name in ("plan", "log")}
    return build_plan(Request(library="tensorrt-rtx", **paths, timing_cache=str(folder / "timing")))


def convolutions(answer: Answer) -> list[str]:
    return [layer.inputs[0].dtype for layer in answer.layers if layer.convolves]


@pytest.mark.parametrize("broken", BROKEN, ids=[one.id for one in BROKEN])
def test_the_parser_says_what_the_rule_says(broken: Broken, quantized: ir.Model, tmp_path: Path) -> None:
    broken.breaks(quantized)
    if broken.parser == "refuses":
        with pytest.raises(ModelFileError, match=f"refuses the graph: node '{broken.where}'") as caught:
            build(quantized, tmp_path)
        assert caught.value.hint
        assert "/_src/" not in caught.value.message
        return
    answer = build(quantized, tmp_path)
    misread = [warning for warning in answer.warnings if "Defaulting to INT8" in warning]
    assert bool(misread) == (broken.parser == "warns")


def test_a_graph_that_breaks_no_rule_is_built_in_int8(quantized: ir.Model, tmp_path: Path) -> None:
    assert convolutions(build(quantized, tmp_path)) == 9 * ["int8"] + ["fp32"]


def test_half_precision_is_built_as_it_is_typed(quantized: ir.Model, tmp_path: Path) -> None:
    assert convolutions(build(type_in_half(quantized)[0], tmp_path)) == 9 * ["int8"] + ["fp16"]
    assert set(convolutions(build(type_in_half(prepared())[0], tmp_path))) == {"fp16"}


@pytest.mark.parametrize("operator", ["MaxRoiPool", "Frobnicate"])
def test_an_operator_that_the_parser_lacks_is_named_with_advice(
    operator: str, quantized: ir.Model, tmp_path: Path
) -> None:
    resize = next(node for node in quantized.graph if node.op_type == "Resize")
    resize.op_type, resize.domain = operator, "org.example"
    quantized.opset_imports["org.example"] = 1
    with pytest.raises(ModelFileError, match=rf"node 'n15' \({operator}\)") as caught:
        build(quantized, tmp_path)
    assert "Express that operator by others" in caught.value.hint
