"""What became of a graph's nodes in an engine: its layers, by the engine inspector or by the log of the build."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Layer", "Tensor", "layers_of_inspector", "layers_of_log", "layers_path", "read_layers", "types_read"]

#: One layer in the verbose log of TensorRT-RTX.
LINE = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], Constants: \[(?P<constants>.*?)\], "
    r"Outputs: \[(?P<outputs>.*?)\], TacticName: (?P<tactic>.*?), StreamId: \d+(?:, Metadata: (?P<nodes>.*))?"
)
TENSOR = re.compile(r"\{ Name: (.*?), Dimensions: \[([-\d,]*)\].*?Datatype: (\w+)")
NODE = re.compile(r"\[ONNX Layer: (.*?)\]")
#: Kinds of layers that convolve, as TensorRT and TensorRT-RTX name them; of a pooled map it can be a matrix product.
CONVOLUTION = re.compile(r"correlation|conv|gemm|runtime_fusion", re.IGNORECASE)
#: A data type within the inspector's description of a format, the longer words first.
DTYPE = re.compile(r"uint8|int8|int32|int64|fp8|bf16|bfloat16|fp16|half|fp32|float|bool", re.IGNORECASE)
DTYPES = {"half": "fp16", "float": "fp32", "bfloat16": "bf16"}


class Tensor(msgspec.Struct, frozen=True):
    """One end of a layer. `dtype` is `int8`, `fp16` and the like, empty where none is told; a free side is -1."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of an engine.

    Attributes:
        kind: The library's word: `correlation`, `CaskConvolution`, `kgen`, `Reformat`.
        nodes: Names of the graph's nodes that went into it; more than one where they were fused.
        constants: Weights and the like, where the library tells them.
        tactic: The kernel, as far as the library names it.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tactic: str

    @property
    def convolves(self) -> bool:
        """Whether it can be where a convolution is computed."""
        return CONVOLUTION.search(self.kind) is not None


def types_read(layers: Iterable[Layer], nodes: Collection[str]) -> dict[str, str]:
    """The type that each of the convolutions `nodes` reads in the engine; without those that no layer names."""
    found = {}
    for layer in layers:
        if layer.convolves and layer.inputs:
            found.update(dict.fromkeys(set(nodes) & set(layer.nodes), layer.inputs[0].dtype))
    return found


def layers_of_log(lines: Iterable[str]) -> Iterator[Layer]:
    """The layers that the verbose log of a build tells, which is all that TensorRT-RTX does without a GPU."""
    for line in lines:
        if match := LINE.search(line):
            yield Layer(
                name=match["name"],
                kind=match["kind"],
                nodes=_nodes(match["nodes"] or ""),
                inputs=_tensors(match["inputs"]),
                constants=_tensors(match["constants"]),
                outputs=_tensors(match["outputs"]),
                tactic=match["tactic"],
            )


def layers_of_inspector(text: str) -> tuple[Layer, ...]:
    """The layers that the engine inspector tells as JSON, in the words of TensorRT 8 to 11."""
    told = json.loads(text)
    return tuple(_inspected(layer) for layer in told.get("Layers", []) if isinstance(layer, dict))


def _inspected(layer: dict[str, Any]) -> Layer:
    tactic = layer.get("TacticName") or layer.get("TacticValue") or ""
    return Layer(
        name=layer["Name"],
        kind=layer.get("LayerType", ""),
        nodes=_nodes(layer.get("Metadata", "")),
        inputs=tuple(map(_end, layer.get("Inputs", []))),
        constants=tuple(map(_end, layer.get("Constants", []))),
        outputs=tuple(map(_end, layer.get("Outputs", []))),
        tactic=str(tactic),
    )


def _end(told: dict[str, Any]) -> Tensor:
    words = told.get("Datatype") or told.get("DataType") or told.get("Format/Datatype") or ""
    match = DTYPE.search(words)
    return Tensor(told["Name"], tuple(told.get("Dimensions", [])), _dtype(match[0]) if match else "")


def _nodes(metadata: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(NODE.findall(metadata)))


def _tensors(text: str) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(name, tuple(int(side) for side in shape.split(",") if side), _dtype(dtype))
        for name, shape, dtype in TENSOR.findall(text)
    )


def _dtype(word: str) -> str:
    return DTYPES.get(word.lower(), word.lower())


def layers_path(engine: Path) -> Path:
    """Where it stands what became of each layer: the engine's whole name and `.layers.jsonl`."""
    return engine.with_name(engine.name + ".layers.jsonl")


def read_layers(engine: Path) -> tuple[Layer, ...]:
    """The layers of an engine that was built; none where its library does not tell them."""
    path = layers_path(engine)
    lines = path.read_bytes().splitlines() if path.is_file() else []
    return tuple(msgspec.json.decode(line, type=Layer) for line in lines)
