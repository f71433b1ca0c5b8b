"""What the process that builds an engine is told, and what it answers: one line of JSON each."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgeseg.backends.tensorrt.layers import Layer
from edgeseg.backends.tensorrt.library import Name
from edgeseg.backends.tensorrt.options import TensorRtOptions

__all__ = ["Answer", "Failure", "Message", "Progress", "Refused", "Request"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One build.

    Attributes:
        graph: ONNX file that takes frames and gives class maps.
        plan, log: Files to write.
        timing_cache: File to read, where it exists, and to write.
        precisions: Names of builder flags for a weakly typed network; none where the graph says it all.
        calibration: Calibration cache of implicit INT8, empty where the graph has Q/DQ nodes.
    """

    library: Name
    graph: str
    plan: str
    log: str
    timing_cache: str
    precisions: tuple[str, ...] = ()
    calibration: str = ""
    options: TensorRtOptions = TensorRtOptions()


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far the library says that one of its phases is, 0 to 1."""

    phase: str
    share: float


class Refused(msgspec.Struct, frozen=True):
    """What the parser says of one node. Names are empty where the version does not tell them."""

    message: str
    node: str = ""
    operator: str = ""


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """Why there is no engine.

    Attributes:
        stage: `library` where it is not there, `options` where it has not what they ask for, `files` where they can't
            be written.
    """

    stage: Literal["library", "options", "parse", "build", "files"]
    message: str
    hint: str = ""
    refused: tuple[Refused, ...] = ()


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """What was built.

    Attributes:
        convolutions: Names of the network's.
        fallback: Names of the layers that a DLA leaves to the GPU.
    """

    version: str
    seconds: float
    layers: tuple[Layer, ...]
    convolutions: tuple[str, ...]
    fallback: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


Message = Progress | Failure | Answer
