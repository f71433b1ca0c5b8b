"""Graphs for another batch: each frame is computed as it is alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")

import onnx_ir as ir
from onnx import TensorProto, helper

from edgeseg.build.prepared import open_prepared
from edgeseg.build.recipe import BuildRecipe
from edgeseg.catalog import zoo_models
from edgeseg.errors import ModelFileError
from edgeseg.graph.attach import CLASS_MAP, FRAME, attach_head_and_tail
from edgeseg.graph.batch import set_batch
from edgeseg.graph.layers import layer_costs
from edgeseg.graph.verify import run_graph, verify_batch
from tests.engines import tiny_model
from tests.graphs import GraphMaker


def frames(count: int, size_hw: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *size_hw, 3), np.uint8)


def agrees(whole: ir.Model, given: np.ndarray, batch: int | None) -> bool:
    """Whether a batch gives the very class maps of its frames alone."""
    alone = np.concatenate([run_graph(whole, {FRAME: one[None]}, CLASS_MAP) for one in given])
    return bool(np.array_equal(run_graph(set_batch(whole, batch), {FRAME: given}, CLASS_MAP), alone))


@pytest.mark.parametrize("batch", [None, 3], ids=["a free batch", "a fixed one"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "liteseg-nano-camvid" else pytest.mark.slow) for name in zoo_models()],
)
def test_a_shipped_model_gives_each_frame_what_it_gives_it_alone(name: str, batch: int | None) -> None:
    _, prepared = open_prepared(BuildRecipe(model=name, imgsz=(72, 96)))
    whole = attach_head_and_tail(prepared, head="cast", upsample="half")
    assert agrees(whole, frames(3, (72, 96)), batch)


def test_the_graph_itself_is_left_as_it_is() -> None:
    model = attach_head_and_tail(tiny_model(), head="cast", upsample="half")
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    freed = set_batch(model, None)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    assert [str(end.shape[0]) for end in (*freed.graph.inputs, *freed.graph.outputs) if end.shape] == ["N", "N"]
    onnx.checker.check_model(ir.to_proto(freed), full_check=True)


def test_a_free_batch_can_be_fixed_again() -> None:
    model = attach_head_and_tail(tiny_model(), head="cast", upsample="half")
    again, fixed = set_batch(set_batch(model, None), 3), set_batch(model, 3)
    assert [node.op_type for node in again.graph] == [node.op_type for node in fixed.graph]
    assert layer_costs(again) == layer_costs(fixed)
    given = frames(3, (32, 48))
    assert np.array_equal(*(run_graph(one, {FRAME: given}, CLASS_MAP) for one in (again, fixed)))


Make = Callable[[GraphMaker], str]


def reshaped(shape: tuple[int, ...]) -> Make:
    def make(m: GraphMaker) -> str:
        y = m.node("Reshape", "pixels", m.constant(np.array(shape, np.int64)))
        y = m.node("Transpose", y, perm=[0, 2, 1, 3, 4]) if len(shape) == 5 else y
        return m.node("Reshape", y, m.constant(np.array((1, 3, 8, 8), np.int64)), out="logits")

    return make


def computed(m: GraphMaker) -> str:
    return m.node("Reshape", "pixels", m.node("Shape", "pixels"), out="logits")


def mixing(m: GraphMaker) -> str:
    y = m.node("ReduceMean", "pixels", axes=[0], keepdims=1)
    return m.node("Add", "pixels", y, out="logits")


def graph(make: Make) -> ir.Model:
    m = GraphMaker()
    make(m)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 8, 8)) for name in ("pixels", "logits")]
    return ir.from_proto(m.model(ends[:1], ends[1:]))


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((1, 1, 3, 8, 8), id="groups of channels"),
        pytest.param((1, 3, 64), id="places in a row"),
        pytest.param((0, 3, 64), id="the batch by zero"),
        pytest.param((-1, 3, 64), id="the batch by minus one"),
    ],
)
def test_a_reshape_keeps_frames_apart(shape: tuple[int, ...]) -> None:
    verify_batch(graph(reshaped(shape)), frames(1, (8, 8)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(reshaped((3, 64)), "brings 3 slices to the front, which mixes frames", id="a reshape that mixes"),
        pytest.param(computed, "computes its shape", id="a shape that is computed"),
        pytest.param(mixing, "does not compute several frames at once", id="a mean over the frames"),
    ],
)
def test_a_graph_that_mixes_its_frames_is_refused(make: Make, said: str) -> None:
    with pytest.raises(ModelFileError, match=said) as caught:
        verify_batch(graph(make), frames(1, (8, 8)))
    assert "leave out --batch" in caught.value.hint
