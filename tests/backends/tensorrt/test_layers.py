"""What became of each layer, as each version's inspector and the log of TensorRT-RTX tell it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeseg.backends.tensorrt.layers import Layer, Tensor, layers_of_inspector, layers_of_log, read_layers, types_read

LOG = (
    "VERBOSE: Name: conv1_myl0_3, LayerType: correlation, Inputs: [ { Name: x_q, Dimensions: [1,32,90,120], Strides: "
    "[345600,1,3840,32], StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }], Constants: [ "
    "{ Name: w, Dimensions: [64,32,1,1], Datatype: Int8, Format: (Linear) }, { Name: s, Dimensions: [], Datatype: "
    "Half, Format: (Linear) }], Outputs: [ { Name: y, Dimensions: [1,64,90,120], Datatype: Float, Format: (NHWC) }], "
    "TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: x_QuantizeLinear][ONNX Layer: conv1]"
    "[ONNX Layer: conv1]"
)
FOUND = Layer(
    name="conv1_myl0_3",
    kind="correlation",
    nodes=("x_QuantizeLinear", "conv1"),
    inputs=(Tensor("x_q", (1, 32, 90, 120), "int8"),),
    constants=(Tensor("w", (64, 32, 1, 1), "int8"), Tensor("s", (), "fp16")),
    outputs=(Tensor("y", (1, 64, 90, 120), "fp32"),),
    tactic="__myelin_CASK_STUB",
)


def test_a_layer_is_read_from_the_log() -> None:
    assert list(layers_of_log(["INFO: Engine Layer Information:", LOG, "VERBOSE: done"])) == [FOUND]
    assert FOUND.convolves
    assert types_read([FOUND], ["conv1", "conv2"]) == {"conv1": "int8"}


def test_a_free_batch_is_a_negative_side() -> None:
    (found,) = layers_of_log([LOG.replace("[1,32,90,120]", "[-1,32,90,120]")])
    assert found.inputs == (Tensor("x_q", (-1, 32, 90, 120), "int8"),)


def end(**told: object) -> dict[str, object]:
    return {"Name": "x", "Location": "Device", "Dimensions": [1, 32, 90, 120], **told}


@pytest.mark.parametrize(
    ("told", "dtype"),
    [
        pytest.param({"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}, "int8", id="8.6"),
        pytest.param({"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}, "fp16", id="10.3"),
        pytest.param({"Format": "Row major linear", "Datatype": "UInt8"}, "uint8", id="11"),
        pytest.param({"Format": "Row major linear", "DataType": "Float"}, "fp32", id="11, another spelling"),
        pytest.param({}, "", id="nothing is told"),
    ],
)
def test_a_layer_is_read_from_the_inspector(told: dict[str, object], dtype: str) -> None:
    layer = {
        "Name": "conv1 + relu1",
        "LayerType": "CaskConvolution",
        "Inputs": [end(**told)],
        "Outputs": [end(**told)],
        "TacticName": "sm80_xmma_fprop_implicit_gemm",
        "Metadata": "[ONNX Layer: conv1]\u001e[ONNX Layer: relu1]",
    }
    (found,) = layers_of_inspector(json.dumps({"Layers": [layer], "Bindings": ["frame"]}))
    assert (found.nodes, found.convolves) == (("conv1", "relu1"), True)
    assert found.inputs[0].dtype == dtype


def test_an_inspector_that_tells_names_alone_gives_no_layers() -> None:
    assert layers_of_inspector(json.dumps({"Layers": ["conv1", "conv2"]})) == ()


def test_an_engine_whose_layers_nobody_told_has_none(tmp_path: Path) -> None:
    assert read_layers(tmp_path / "a.engine") == ()
