"""`edgeseg inspect`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec

from edgeseg.cli.report import json_option, print_json, print_table, say

if TYPE_CHECKING:
    from edgeseg.backends.tensorrt.layers import Layer
    from edgeseg.build.inspection import GraphSummary, Inspection, Tensor

__all__ = ["inspect"]


@click.command()
@click.argument("artefact")
@click.option("--layers", is_flag=True, help="Also list what became of each layer of a TensorRT engine.")
@json_option
def inspect(artefact: str, layers: bool, as_json: bool) -> None:
    """Tell what ARTEFACT is: its card, what it was made from, what was measured, and what its graph holds.

    ARTEFACT is the path of an engine, an .onnx graph, .ranges.npz, .safetensors or .bundle, or the name of a shipped
    model or of an engine that was built.

    \b
    Examples:
      edgeseg inspect liteseg-efficientnet-lite0-camvid
      edgeseg inspect engines/street.onnx --json
      edgeseg inspect street-int8-tensorrt.engine --layers
    """
    from edgeseg.build.inspection import inspect_artefact

    found = inspect_artefact(artefact)
    if as_json:
        print_json("inspect", found)
        return
    rows = [("kind", found.kind), ("bytes", f"{found.size_bytes:,}"), ("sha256", found.sha256)]
    rows += _card_rows(found.card) if found.card else []
    rows += _graph_rows(found.graph) if found.graph else []
    rows += [(name, value) for facts in _plain_facts(found) for name, value in _flat(facts)]
    print_table(found.path, ("", ""), rows)
    if layers:
        print_table(
            f"{len(found.layers)} layers",
            ("layer", "reads", "gives", "nodes", "tactic"),
            [_layer_row(layer) for layer in found.layers],
        )
    if found.command:
        say("The same with the library's own tool:")
        click.echo(found.command)


def _card_rows(card: dict[str, Any]) -> list[tuple[str, str]]:
    hidden = ("schema", "kind", "palette", "sha256", "classes")
    told = {name: value for name, value in card.items() if name not in hidden and value not in ("", {}, None)}
    return [("classes", f"{len(card['classes'])}: {', '.join(card['classes'])}"), *_flat(told)]


def _graph_rows(graph: GraphSummary) -> list[tuple[str, str]]:
    return [
        ("input", "\n".join(map(_tensor, graph.inputs))),
        ("output", "\n".join(map(_tensor, graph.outputs))),
        ("opset", f"{graph.opset}, IR {graph.ir_version}, {graph.producer}".rstrip(", ")),
        ("parameters", f"{graph.parameters:,}"),
        ("nodes", ", ".join(f"{count} {op}" for op, count in graph.nodes.items())),
        ("INT8", f"{graph.int8_convs} of {graph.total_convs} convolutions, {graph.quantize_nodes} QuantizeLinear, "
                 f"{graph.dequantize_nodes} DequantizeLinear"),
        ("graph sha256", graph.graph_sha256),
        ("weights sha256", graph.weights_sha256),
    ]  # fmt: skip


def _layer_row(layer: Layer) -> tuple[str, ...]:
    reads, gives = (", ".join(dict.fromkeys(end.dtype for end in ends)) for ends in (layer.inputs, layer.outputs))
    return layer.kind, reads, gives, ", ".join(layer.nodes), layer.tactic


def _tensor(tensor: Tensor) -> str:
    return f"{tensor.name}: {tensor.dtype} ({', '.join(map(str, tensor.shape))})"


def _plain_facts(found: Inspection) -> Iterator[dict[str, Any]]:
    if found.ranges is not None:
        yield msgspec.to_builtins(found.ranges)
    if found.training is not None:
        yield found.training
    if found.bundle is not None:
        yield msgspec.to_builtins(found.bundle)


def _flat(facts: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """`preprocess.resize.mode` and its value, a row for each leaf."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            yield f"{above}{name}", text
