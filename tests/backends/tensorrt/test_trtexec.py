"""The line for TensorRT's own tool: every option of the build is one of the tool's."""

from __future__ import annotations

import shlex

import pytest

from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.backends.tensorrt.trtexec import trtexec_line


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        pytest.param({"workspace_mib": 512}, "--memPoolSize=workspace:512M", id="workspace"),
        pytest.param({"optimization_level": 5}, "--builderOptimizationLevel=5", id="optimization level"),
        pytest.param({"hardware": "ampere-plus"}, "--hardwareCompatibilityLevel=ampere+", id="other GPUs"),
        pytest.param({"any_version": True}, "--versionCompatible", id="other versions"),
        pytest.param({"dla_core": 1}, "--useDLACore=1", id="an accelerator"),
        pytest.param({"dla_core": 1}, "--allowGPUFallback", id="and what it can't do"),
        pytest.param({"sparse": True}, "--sparsity=enable", id="sparse weights"),
    ],
)
def test_an_option_becomes_a_flag_and_is_absent_without(options: dict[str, object], flag: str) -> None:
    own = TensorRtOptions(**options)  # type: ignore[arg-type]
    assert flag in shlex.split(trtexec_line("a.onnx", "a.engine", own, typed=True))
    assert flag not in shlex.split(trtexec_line("a.onnx", "a.engine", TensorRtOptions(), typed=True))


def test_types_in_the_graph_leave_no_precision_to_say() -> None:
    words = shlex.split(trtexec_line("a b.onnx", "a.engine", TensorRtOptions(), typed=True, int8=True, half=True))
    assert words[:3] == ["trtexec", "--onnx=a b.onnx", "--saveEngine=a.engine"]
    assert "--stronglyTyped" in words
    assert not {"--int8", "--fp16"} & set(words)


def test_without_types_the_precisions_and_the_cache_are_said() -> None:
    line = trtexec_line("a.onnx", "a.engine", TensorRtOptions(), typed=False, int8=True, half=True, cache="a.cache")
    assert {"--int8", "--fp16", "--calib=a.cache"} <= set(shlex.split(line))
    assert "--stronglyTyped" not in line
