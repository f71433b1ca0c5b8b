"""Which layer of a graph each step of an engine library belongs to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from edgeseg.backends.kernels import Kernel
from edgeseg.bench.roofline.structs import Ceilings, Layer
from edgeseg.card import Precision
from edgeseg.graph.layers import LayerCost, layer_costs

__all__ = ["layers_of"]

#: A library's operator that takes the place of one of the graph's, whose name is lost.
TAKES_PLACE_OF = {"TopK": "ArgMax"}


def layers_of(graph: ir.Model, kernels: Sequence[Kernel], ceilings: Ceilings, floats: Precision) -> tuple[Layer, ...]:
    """The layers of an engine's graph with what they cost, could take and took; behind them the library's own steps.

    Args:
        graph: That the engine was built from.
        kernels: Of the engine; none where the library does not tell.
        ceilings: Of the library on this machine.
        floats: Precision of float operators.

    Raises:
        ModelFileError: The graph's shapes can't be told.
    """
    costs = layer_costs(graph, floats)
    if together := _computed_together(costs, kernels):
        costs = layer_costs(graph, floats, together)
    names = {alias: index for index, cost in enumerate(costs) for alias in cost.aliases}
    taken: defaultdict[int, list[Kernel]] = defaultdict(list)
    beside = []
    for kernel in kernels:
        index = _layer_of(kernel, names, costs)
        if index is None:
            beside.append(_beside(kernel))
        else:
            taken[index].append(kernel)
    return (*(_layer(cost, taken[index], ceilings) for index, cost in enumerate(costs)), *beside)


def _computed_together(costs: Sequence[LayerCost], kernels: Sequence[Kernel]) -> dict[str, str]:
    """Layers that multiply, by name, which a library computes in one step with one before."""
    names = [cost.name for cost in costs if cost.macs]
    found = {}
    for kernel in kernels:
        first, *others = sorted(names.index(name) for name in {*kernel.names} if name in names) or [0]
        found.update({names[other]: names[first] for other in others})
    return found


def _layer_of(kernel: Kernel, names: Mapping[str, int], costs: Sequence[LayerCost]) -> int | None:
    """The layer that a step comes from: of several the first that multiplies, which takes most of its time."""
    found = [names[name] for name in kernel.names if name in names]
    return min(found, key=lambda index: not costs[index].macs) if found else _only(costs, kernel.kind)


def _only(costs: Sequence[LayerCost], kind: str) -> int | None:
    found = [index for index, cost in enumerate(costs) if cost.op == TAKES_PLACE_OF.get(kind)]
    return found[0] if len(found) == 1 else None


def _layer(cost: LayerCost, kernels: Sequence[Kernel], ceilings: Ceilings) -> Layer:
    bound_ms, limit = ceilings.bound_ms(cost.macs, cost.bytes, cost.precision)
    taken_ms = sum(kernel.ms for kernel in kernels)
    return Layer(
        name=cost.name,
        op=cost.op,
        precision=cost.precision,
        ran_in=max(kernels, key=lambda kernel: kernel.ms).precision if kernels else "",
        macs=cost.macs,
        bytes=cost.bytes,
        bound_ms=bound_ms,
        limit=limit,
        measured_ms=taken_ms if kernels else None,
        share=bound_ms / taken_ms if taken_ms else None,
    )


def _beside(kernel: Kernel) -> Layer:
    return Layer(
        name=next(filter(None, kernel.names), kernel.kind),
        op=kernel.kind,
        precision="",
        ran_in=kernel.precision,
        macs=0,
        bytes=0,
        bound_ms=0.0,
        limit="memory",
        measured_ms=kernel.ms,
        share=0.0 if kernel.ms else None,
    )
