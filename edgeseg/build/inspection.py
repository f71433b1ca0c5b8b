"""What an artefact is: engines, graphs, ranges and weights."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgeseg.backends import Engine
from edgeseg.backends.tensorrt.layers import Layer, read_layers
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.backends.tensorrt.trtexec import trtexec_line
from edgeseg.build.bundle import Bundle, is_bundle
from edgeseg.build.graphs import graph_path
from edgeseg.build.store import cache_beside, find_engine, graph_beside
from edgeseg.card import Card
from edgeseg.errors import UsageError
from edgeseg.files import sha256_file

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["BundleFacts", "GraphSummary", "Inspection", "RangesFacts", "Tensor", "inspect_artefact"]


class Tensor(msgspec.Struct, frozen=True):
    """An input or output. A symbolic side is its name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class GraphSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What an ONNX graph consists of.

    Attributes:
        nodes: Count by operator, the most frequent first.
        int8_convs, total_convs: Convolutions that compute in INT8, and all.
        parameters: Values in float weights, those before a DequantizeLinear included.
        graph_sha256: Canonical, without metadata.
        weights_sha256: Of contents and names of the weights, not of shapes.
    """

    opset: int
    ir_version: int
    producer: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: dict[str, int]
    quantize_nodes: int
    dequantize_nodes: int
    int8_convs: int
    total_convs: int
    parameters: int
    graph_sha256: str
    weights_sha256: str


class RangesFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of ranges was measured on."""

    tensors: int
    frames: int
    size_hw: tuple[int, int]
    weights_sha256: str
    ranges_sha256: str
    calibration_sha256: tuple[str, ...]
    tools: dict[str, str]


class BundleFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle holds.

    Attributes:
        gate, frames: Kind and count of the frames that a board judges on.
        int8: Verdict by dialect, where it was packed.
        graphs: Names of the forms that engines are built from.
        recipe: That it was packed by.
    """

    gate: str
    frames: int
    int8: dict[str, str]
    graphs: tuple[str, ...]
    recipe: dict[str, Any]


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What one file is.

    Attributes:
        kind: `engine`, `graph`, also of those without a card, `prepared`, `quantized`, `ranges`, `weights` or `bundle`.
        card: With all its fields, also those that a file leaves out because they are as usual.
        training: What weights tell of the run that made them.
        command: By which the engine library's own tool builds the same graph (without the logits beside the class map),
            or runs it where there is nothing to build.
        layers: What the library made of an engine's graph, where it tells.
    """

    path: str
    kind: str
    size_bytes: int
    sha256: str
    card: dict[str, Any] | None = None
    graph: GraphSummary | None = None
    ranges: RangesFacts | None = None
    training: dict[str, Any] | None = None
    bundle: BundleFacts | None = None
    command: str = ""
    layers: tuple[Layer, ...] = ()


def inspect_artefact(word: str) -> Inspection:
    """What the file at a path is, or the shipped model or the engine of a name.

    Args:
        word: An engine, an .onnx graph, ranges (.ranges.npz), weights (.safetensors), a bundle, or a name.

    Raises:
        UsageError: Nothing is there, or it is none of these.
        ModelFileError: The file is damaged.
    """
    path = Path(word)
    if path.name.endswith(".npz") and path.exists():
        return _of_ranges(path)
    if path.suffix == ".safetensors" and path.exists():
        return _of_weights(path)
    if is_bundle(word):
        return _of_bundle(path)
    graph = graph_path(word)
    if graph is not None:
        return _of_graph(graph)
    if path.is_file() and not path.with_name(path.name + ".json").is_file():
        raise UsageError(
            f"{path} is nothing that edgeseg makes.",
            hint="Possible: an engine with its card beside it, .onnx, .ranges.npz, .safetensors, .bundle, or a name.",
        )
    engine = find_engine(word)
    facts = _graph_facts(engine.path) if engine.path.suffix == ".onnx" else None
    return _inspection(
        engine.path,
        "engine",
        card=_fields(engine.card),
        graph=facts,
        command=_command(engine),
        layers=read_layers(engine.path),
    )


def _command(engine: Engine) -> str:
    """The line by which a user checks an engine with the tool that they know."""
    card, path = engine.card, shlex.quote(str(engine.path))
    if card.backend == "openvino":
        return f"benchmark_app -m {path} -d CPU -hint latency"
    if card.backend == "onnxruntime":
        return f"onnxruntime_perf_test -e cpu -I -t 10 {path}"
    if card.identity is None:
        return ""
    frame = (*card.fixed_size_hw, len(card.preprocess.pixel_format))
    return trtexec_line(
        str(graph_beside(engine.path)),
        f"{engine.path}.trtexec",
        msgspec.convert(card.measured["execution"]["options"], TensorRtOptions),
        tool="tensorrt_rtx" if card.backend == "tensorrt-rtx" else "trtexec",
        typed=card.measured["execution"]["typed"],
        int8=card.dialect != "float",
        half=card.float_precision == "fp16",
        cache=str(cache_beside(engine.path)) if cache_beside(engine.path).is_file() else "",
        frame=frame,
    )


def _inspection(path: Path, kind: str, **facts: Any) -> Inspection:
    return Inspection(path=str(path), kind=kind, size_bytes=path.stat().st_size, sha256=sha256_file(path), **facts)


def _fields(card: Card) -> dict[str, Any]:
    return {name: msgspec.to_builtins(getattr(card, name)) for name in card.__struct_fields__}


def _of_graph(path: Path) -> Inspection:
    from edgeseg.graph.io import graph_card, load_graph

    card = graph_card(load_graph(path))
    return _inspection(
        path, card.kind if card else "graph", card=_fields(card) if card else None, graph=_graph_facts(path)
    )


def _graph_facts(path: Path) -> GraphSummary:
    from edgeseg.build.engine_graph import count_convs
    from edgeseg.graph.cost import count_parameters
    from edgeseg.graph.io import graph_sha256, load_graph, weights_sha256

    model = load_graph(path)
    graph = model.graph
    nodes = Counter(node.op_type for node in graph)
    int8_convs, total_convs, _ = count_convs(model)
    return GraphSummary(
        opset=model.opset_imports.get("", 0),
        ir_version=model.ir_version,
        producer=f"{model.producer_name or ''} {model.producer_version or ''}".strip(),
        inputs=tuple(_tensor(value) for value in graph.inputs if not value.is_initializer()),
        outputs=tuple(_tensor(value) for value in graph.outputs),
        nodes=dict(nodes.most_common()),
        quantize_nodes=nodes["QuantizeLinear"],
        dequantize_nodes=nodes["DequantizeLinear"],
        int8_convs=len(int8_convs),
        total_convs=total_convs,
        parameters=count_parameters(graph),
        graph_sha256=graph_sha256(model),
        weights_sha256=weights_sha256(model),
    )


def _tensor(value: ir.Value) -> Tensor:
    sides = value.shape.dims if value.shape is not None else ()
    shape = tuple(side if isinstance(side, int) else str(side.value or "?") for side in sides)
    return Tensor(value.name or "", value.dtype.name.lower() if value.dtype is not None else "", shape)


def _of_ranges(path: Path) -> Inspection:
    from edgeseg.quantize.ranges import load_ranges

    found = load_ranges(path)
    facts = RangesFacts(
        tensors=len(found.tensors),
        frames=found.frames,
        size_hw=found.size_hw,
        weights_sha256=found.weights_sha256,
        ranges_sha256=found.sha256(),
        calibration_sha256=found.calibration_sha256,
        tools=dict(found.tools),
    )
    return _inspection(path, "ranges", ranges=facts)


def _of_bundle(path: Path) -> Inspection:
    found = Bundle(path).manifest
    facts = BundleFacts(
        gate=found.gate.kind,
        frames=len(found.gate.frames),
        int8={name: f"{one.verdict}: {one.reason}" for name, one in found.int8.items()},
        graphs=tuple(one.form.name for one in found.graphs),
        recipe=msgspec.to_builtins(found.recipe),
    )
    return _inspection(path, "bundle", card=_fields(found.card), bundle=facts)


def _of_weights(path: Path) -> Inspection:
    from edgeseg.build.checkpoint import training_of

    return _inspection(path, "weights", training=training_of(path))
