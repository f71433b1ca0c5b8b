"""Backends whose engine file is the ONNX graph itself, compiled by the library at every load."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import msgspec
import onnx

from edgeseg.backends.base import Backend, Engine, EngineOptions, Processor
from edgeseg.backends.session import Output, Session, Shape
from edgeseg.card import KEY, Card, decode_card
from edgeseg.errors import EdgesegError, ModelFileError
from edgeseg.files import refuse_outside_data

__all__ = ["OnnxFileBackend", "check_frame_graph", "read_frame_graph", "refusal"]

#: A node's name, as both libraries put it: `Node (conv1)`, `Node, ("conv1"`, `<Node(Conv): conv1>`.
NODE = re.compile(r"""<Node\(\w+\): ([^>]+)>|[Nn]ode,? \("?([^\s",)]+)""")
#: Lines of OpenVINO's messages that tell where in its own code it was, not what is wrong.
NOISE = re.compile(
    r"\s*$|Exception from|Check '|FrontEnd API|While validating|Model wasn't|Summary|To facilitate"
    r"|-- \S+ with a message|-- Conversion is failed"
)
#: The same at the beginning of ONNX Runtime's messages.
CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (/\S+:\d+ .*\) (?=[A-Z]))?")


class OnnxFileBackend(Backend):
    """A backend that opens ONNX files. What is left to each library is `_open`.

    Attributes:
        library: Its name in messages.
    """

    library: str

    @abstractmethod
    def _open(self, model: onnx.ModelProto, card: Card, output: Output) -> Session:
        """Compile a graph whose only output is `output`.

        Raises:
            ModelFileError: The library refuses it.
        """

    def build(
        self,
        graph: Path,
        out: Path,
        options: EngineOptions,
        on_progress: Callable[[float, str], None] = lambda *_: None,
        card: Card | None = None,
    ) -> Engine:
        """See `Backend.build`. The graph is loaded and run once, on a black frame, before its file is kept."""
        self._check_options(options)
        model, own = read_frame_graph(graph)
        card = msgspec.structs.replace(card or own, float_precision=options.precision)
        with self._open(model, card, "class_map") as session:
            try:
                shape = session.submit().result().shape
            except EdgesegError as error:
                raise refusal(self.library, model, error.message) from error
            if shape != (card.batch, *(card.size_hw or ())):
                raise ModelFileError(f"The class map of {graph} has the shape {shape}, its frames {card.size_hw}.")
        content = model.SerializeToString(deterministic=True)
        return self._keep(out, content, card, options, session.execution)

    def load(
        self,
        engine: Engine,
        output: Output = "class_map",
        *,
        batch: int | None = None,
        frame_hw: tuple[int, int] | None = None,
    ) -> Session:
        """See `Backend.load`. For `logits` the graph ends there, so that the rest isn't computed."""
        model = self._read(engine)
        self._check_given(engine.card, batch, frame_hw)
        if output == "logits":
            del model.graph.output[:]
            model.graph.output.append(onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None))
        return self._open(model, engine.card, output)

    def processor(self, card: Card) -> Processor:
        """See `Backend.processor`."""
        return "cpu"

    def _read(self, engine: Engine) -> onnx.ModelProto:
        self._check_engine(engine)
        refuse_outside_data(engine.path, embedded=True)
        model = onnx.load(engine.path, format="protobuf", load_external_data=False)
        check_frame_graph(model)
        return model


def read_frame_graph(
    path: Path, *, ends: Collection[str] = ("class_map",), free_batch: bool = False
) -> tuple[onnx.ModelProto, Card]:
    """The graph in a file, with its weights in memory, and its card, taken out of it.

    Args:
        path: ONNX file.
        ends: Outputs of which it may have one.
        free_batch: It may take any number of frames.

    Raises:
        ModelFileError: The file is damaged or has no card, or the graph does not take frames and give class maps.
    """
    refuse_outside_data(path)
    model = onnx.load(path, format="protobuf")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    if KEY not in properties:
        raise ModelFileError(f"{path} has no card.", hint="Give the model to edgeseg build, which makes one.")
    card = decode_card(properties.pop(KEY), where=str(path))
    onnx.helper.set_model_props(model, properties)
    batch, height, width, channels = check_frame_graph(model, ends=ends, free_batch=free_batch)
    if channels != len(card.preprocess.pixel_format):
        raise ModelFileError(f"{path} takes {channels} channels, but its card says {card.preprocess.pixel_format}.")
    return model, msgspec.structs.replace(card, size_hw=(height, width), batch=batch or card.batch)


def check_frame_graph(
    model: onnx.ModelProto, *, ends: Collection[str] = ("class_map",), free_batch: bool = False
) -> Shape:
    """Shape of the frames that a graph takes: `(N, H, W, channels)`, where N is 0 if it is free.

    Raises:
        ModelFileError: It does not go from uint8 `frame`, of fixed shape, to one of `ends` by way of `logits`.
    """
    graph = model.graph
    types = {value.name: value.type.tensor_type for value in (*graph.input, *graph.output)}
    whole = [name for name in ("frame", *ends) if name in types and name != "logits"]
    uint8 = all(types[name].elem_type == onnx.TensorProto.UINT8 for name in whole)
    shape = tuple(size.dim_value for size in types["frame"].shape.dim) if "frame" in types else ()
    inside = any("logits" in node.output for node in graph.node)
    fits = list(types) in [["frame", end] for end in ends] and uint8
    if not (fits and len(shape) == 4 and all(shape[free_batch:]) and inside):
        raise ModelFileError(
            f"The graph goes from {_names(graph.input)} to {_names(graph.output)}; an engine needs uint8 'frame' "
            "(N, H, W, channels) of fixed size, uint8 'class_map', and a tensor 'logits' between.",
            hint="Give the model to edgeseg build, which puts head and tail on.",
        )
    return shape


def _names(values: Iterable[onnx.ValueInfoProto]) -> str:
    return ", ".join(f"'{value.name}'" for value in values) or "nothing"


def refusal(library: str, model: onnx.ModelProto, said: str) -> ModelFileError:
    """A library's refusal of a graph: the node, where it can be told, and the reason without the noise."""
    words = set(re.split(r"\W+", said))
    nodes = model.graph.node
    unknown = [node for node in nodes if node.op_type in words and not onnx.defs.has(node.op_type, node.domain)]
    named = {name for match in NODE.findall(said) for name in match if name}
    culprit = next(iter(unknown or [node for node in nodes if node.name in named]), None)
    where = f" at node '{culprit.name}' ({culprit.op_type})" if culprit else ""
    lines = (line.strip(" -") for line in said.splitlines() if not NOISE.match(line))
    reason = CODE.sub("", "; ".join(dict.fromkeys(lines)))
    return ModelFileError(
        f"{library} refuses the graph{where}: {reason}",
        hint="Try another backend (edgeseg doctor lists them), or change that part of the model.",
    )
