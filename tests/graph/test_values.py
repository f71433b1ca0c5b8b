"""Helpers for nodes of a graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeseg.graph.values import cuts_edge


def slice_of(*arguments: list[int] | None) -> ir.Node:
    """A Slice of a map by constants, None for one that is computed."""
    values = [
        ir.Value(name=f"v{index}", const_value=None if one is None else ir.tensor(np.array(one, np.int64)))
        for index, one in enumerate(arguments)
    ]
    return ir.node("Slice", [ir.Value(name="map"), *values])


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        pytest.param(slice_of([0], [23], [2], [1]), True, id="the last rows"),
        pytest.param(slice_of([0], [23], [3]), True, id="the last columns, steps left out"),
        pytest.param(slice_of([0, 0], [23, 30], [2, 3], [1, 1]), True, id="both at once"),
        pytest.param(slice_of([0], None, [2], [1]), True, id="an end that is computed"),
        pytest.param(slice_of([0], [8], [1], [1]), False, id="channels"),
        pytest.param(slice_of([1], [23], [2], [1]), False, id="the first row"),
        pytest.param(slice_of([0], [23], [2], [2]), False, id="every other row"),
        pytest.param(slice_of([0], [23], [-2], [1]), False, id="an axis counted from behind, which no shape tells"),
        pytest.param(slice_of(None, [23], [2], [1]), False, id="a start that is computed"),
        pytest.param(slice_of([0], [23]), False, id="all axes"),
        pytest.param(ir.node("Relu", [ir.Value(name="map")]), False, id="no Slice"),
    ],
)
def test_what_cuts_an_edge_off(node: ir.Node, expected: bool) -> None:
    assert cuts_edge(node) is expected
