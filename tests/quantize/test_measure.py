"""Calibration runs see every float tensor of every frame, and hold little at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from edgeseg.errors import ModelFileError, UsageError
from edgeseg.graph.io import weights_sha256
from edgeseg.quantize.measure import measure_ranges
from tests.graphs import tiny_prepared
from tests.quantize.tiny import SIZE_HW, frames, prepared, ranges


def test_limits_of_every_tensor_are_those_of_the_reference_evaluator() -> None:
    model = prepared()
    found = measure_ranges(model, frames(2), calibration_sha256="a" * 64, threads=1)
    names = [value.name for node in model.graph for value in node.outputs if value.name]
    assert list(found.tensors) == ["pixels", *names]
    model.graph.outputs[:] = [value for node in model.graph for value in node.outputs]
    reference = ReferenceEvaluator(ir.to_proto(model))
    runs = [reference.run(None, {"pixels": pixels}) for pixels in frames(2)]
    for index, name in enumerate(names):
        values = np.stack([run[index] for run in runs])
        tensor = found.tensors[name]
        assert tensor.count == values.size, name
        assert (tensor.minimum, tensor.maximum) == pytest.approx((values.min(), values.max()), abs=1e-3), name


def test_ranges_know_what_they_belong_to() -> None:
    found = ranges()
    assert found.weights_sha256 == weights_sha256(prepared())
    assert (found.size_hw, found.frames, found.calibration_sha256) == (SIZE_HW, 4, ("c" * 64,))
    assert set(found.tools) == {"edgeseg", "numpy", "onnxruntime"}


def test_the_order_of_frames_changes_nothing() -> None:
    backward = measure_ranges(prepared(), frames(4)[::-1], calibration_sha256="c" * 64, threads=1)
    assert backward.sha256() == ranges().sha256()


def test_small_groups_of_tensors_give_the_same_ranges() -> None:
    grouped = measure_ranges(prepared(), frames(4), calibration_sha256="c" * 64, threads=1, group_mb=0)
    assert grouped.sha256() == ranges().sha256()


def test_parts_of_a_set_merge_into_the_whole() -> None:
    first, second = (
        measure_ranges(prepared(), part, calibration_sha256="c" * 64, threads=1)
        for part in (frames(4)[:1], frames(4)[1:])
    )
    assert first.merge(second).sha256() == second.merge(first).sha256() == ranges().sha256()


def test_parts_of_different_sets_name_both() -> None:
    other = measure_ranges(prepared(), frames(1, seed=9), calibration_sha256="b" * 64, threads=1)
    assert ranges().merge(other).calibration_sha256 == other.merge(ranges()).calibration_sha256 == ("b" * 64, "c" * 64)


def test_ranges_of_different_weights_do_not_merge() -> None:
    other = ir.from_proto(tiny_prepared(*SIZE_HW, seed=3))
    found = measure_ranges(other, frames(1), calibration_sha256="c" * 64, threads=1)
    with pytest.raises(ModelFileError, match="can't be merged"):
        ranges().merge(found)


def test_progress_tells_every_frame() -> None:
    told: list[int] = []
    measure_ranges(prepared(), frames(3), calibration_sha256="a" * 64, threads=1, on_frame=told.append)
    assert told == [1, 2, 3]


def test_an_interrupt_between_frames_passes_through() -> None:
    def interrupted() -> Iterator[np.ndarray]:
        yield frames(1)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_ranges(prepared(), interrupted(), calibration_sha256="a" * 64, threads=1)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        pytest.param([], "no frames", id="no frames at all"),
        pytest.param(frames(1, size_hw=(40, 48)), r"\(1, 3, 40, 48\)", id="frames of another size"),
        pytest.param([frames(1)[0].astype(np.float64)], "float64", id="frames of another type"),
    ],
)
def test_frames_that_do_not_fit_are_refused(pixels: list[np.ndarray], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure_ranges(prepared(), pixels, calibration_sha256="a" * 64, threads=1)


def test_a_tensor_that_is_not_finite_is_named() -> None:
    model = prepared()
    weight = next(value for node in model.graph for value in node.inputs[1:2] if node.op_type == "Conv" and value)
    assert weight.const_value is not None
    weight.const_value = ir.tensor(np.full_like(weight.const_value.numpy(), np.nan), name=weight.name)
    with pytest.raises(ModelFileError, match="Tensor 't0' can't be calibrated on frame 0"):
        measure_ranges(model, frames(1), calibration_sha256="a" * 64, threads=1)


def test_a_graph_that_onnxruntime_refuses_is_a_bad_model_file() -> None:
    model = prepared()
    next(node for node in model.graph if node.op_type == "Relu").op_type = "NoSuchOperator"
    with pytest.raises(ModelFileError, match="ONNX Runtime can't run the graph"):
        measure_ranges(model, frames(1), calibration_sha256="a" * 64, threads=1)
