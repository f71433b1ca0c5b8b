"""How graphs are cut into blocks."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.quantize.blocks import Block, find_blocks
from edgeseg.quantize.rules import WEIGHTED
from tests.graphs import GraphMaker
from tests.quantize.tiny import finished, node, prepared


def chain(count: int, act: str = "relu") -> ir.Model:
    """That many convolutions one behind the other, and the classifier."""
    m = GraphMaker()
    y = m.conv("pixels", 3, 8, 3, act=act)
    for _ in range(count - 1):
        y = m.conv(y, 8, 8, 3, act=act)
    return finished(m, y, 8)


def residual() -> ir.Model:
    """A branch of two convolutions, added to what it began with."""
    m = GraphMaker()
    low = m.conv("pixels", 3, 8, 3, act="relu")
    y = m.node("Add", m.conv(m.conv(low, 8, 8, 3, act="relu"), 8, 8), low)
    return finished(m, m.conv(y, 8, 8, 3, act="relu"), 8)


def gate() -> ir.Model:
    """Squeeze and excitation: two convolutions of the pooled image weigh its channels."""
    m = GraphMaker()
    x = m.conv("pixels", 3, 8, 3, act="relu")
    squeezed = m.conv(m.node("GlobalAveragePool", x), 8, 4, act="relu")
    y = m.node("Mul", x, m.node("Sigmoid", m.conv(squeezed, 4, 8)))
    return finished(m, m.conv(y, 8, 8, act="relu"), 8)


def branches() -> ir.Model:
    """Two branches of one image, joined by Concat."""
    m = GraphMaker()
    x = m.conv("pixels", 3, 8, 3, act="relu")
    first = m.conv(x, 8, 8, 3, act="relu")
    second = m.conv(m.conv(x, 8, 8, act="relu"), 8, 8, 3, act="relu")
    return finished(m, m.conv(m.node("Concat", first, second, axis=1), 16, 8, act="relu"), 8)


STRUCTURES: dict[str, Callable[[], ir.Model]] = {
    "a chain of seven": lambda: chain(7),
    "a residual": residual,
    "a gate": gate,
    "branches": branches,
    "the tiny network": prepared,
}


def weighted(blocks: list[Block]) -> list[tuple[str, ...]]:
    return [block.weighted for block in blocks]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param(chain(7), [("n0", "n2", "n4"), ("n6", "n8", "n10"), ("n12",)], id="a chain is cut by threes"),
        pytest.param(chain(7, act=""), [("n0", "n1", "n2"), ("n3", "n4", "n5"), ("n6",)], id="and without activations"),
        pytest.param(residual(), [("n0",), ("n2", "n4"), ("n6",)], id="a residual's branch is a block, its Add none"),
        pytest.param(gate(), [("n0",), ("n3", "n5"), ("n8",)], id="a gate is a block of its own"),
        pytest.param(branches(), [("n0",), ("n2",), ("n4", "n6"), ("n9",)], id="so is each branch before a Concat"),
        pytest.param(chain(1), [("n0",)], id="one convolution before the classifier"),
        pytest.param(finished(GraphMaker(), "pixels", 3), [], id="a classifier alone makes no block"),
    ],
)
def test_blocks_end_where_tensors_part_and_meet(model: ir.Model, expected: list[tuple[str, ...]]) -> None:
    assert weighted(find_blocks(model)) == expected


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_operator_with_weights_but_the_classifier_is_in_one_block(name: str) -> None:
    model = STRUCTURES[name]()
    classifier = model.graph.outputs[0].producer()
    every = [one.name for one in model.graph if one.op_type in WEIGHTED and one is not classifier]
    blocks = find_blocks(model)
    found = [name for block in blocks for name in block.weighted]
    assert sorted(found) == sorted(name or "" for name in every)
    assert all(set(block.weighted) <= set(block.nodes) for block in blocks)
    assert len({name for block in blocks for name in block.nodes}) == sum(len(block.nodes) for block in blocks)


@pytest.mark.parametrize("name", STRUCTURES)
def test_blocks_are_named_after_their_first_operator_and_count_their_weights(name: str) -> None:
    model = STRUCTURES[name]()
    for block in find_blocks(model):
        assert block.name == block.label == block.weighted[0]
        weights = [node(model, one).inputs[1] for one in block.weighted]
        assert block.parameters == sum(int(one.const_value.size) for one in weights if one and one.const_value)


@pytest.mark.parametrize(
    ("weights", "label"),
    [
        pytest.param("backbone.blocks.3.conv.weight", "backbone.blocks.3.conv", id="as PyTorch names them"),
        pytest.param("aspp1.pointwise.weight.merged", "aspp1.pointwise", id="merged with others"),
        pytest.param("onnx::Conv_523", "n0", id="a number tells nothing"),
        pytest.param("stem.weights", "n0", id="another word"),
        pytest.param(".weight", "n0", id="nothing before it"),
    ],
)
def test_people_are_told_what_the_author_called_it(weights: str, label: str) -> None:
    model = chain(2)
    value = node(model, "n0").inputs[1]
    assert value is not None
    value.name = weights
    first, *_ = find_blocks(model)
    assert (first.name, first.label) == ("n0", label)
