"""The card: what an artefact is, what it was made from, and what was measured on it.

In ONNX files the card lies in `metadata_props` under `KEY`; beside an engine it is `<engine>.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgeseg.errors import ModelFileError
from edgeseg.files import write_bytes

__all__ = [
    "KEY",
    "Card",
    "Dialect",
    "Head",
    "Identity",
    "Int8Recipe",
    "PixelFormat",
    "Precision",
    "Preprocess",
    "Resize",
    "TailLayout",
    "Upsample",
    "Upsampling",
    "card_path",
    "decode_card",
    "encode_card",
    "read_card",
    "tail_size",
    "write_card",
]

KEY = "edgeseg.card"
SCHEMA = "edgeseg.card/1"

PixelFormat = Literal["bgr", "rgb", "bgrx"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]
Dialect = Literal["float", "u8-asym", "u8-asym-reduced", "s8-sym"]
Upsample = Literal["full", "half", "none"]
Upsampling = Literal["align_corners", "half_pixel", "asymmetric"]
#: How frames enter a graph: `dequantize` moves bytes and dequantizes them once, `cast` casts first and last, which is
#: all that TensorRT accepts.
Head = Literal["dequantize", "cast"]
#: Where the best class is sought: as the logits lie, or channels last, transposed behind or before their resize; or not
#: in the graph at all.
TailLayout = Literal["channels_first", "channels_last", "channels_last_early", "outside"]
Triple = tuple[float, float, float]
Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]


class Resize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How frames get to the network's size.

    Attributes:
        mode: `stretch` ignores the aspect ratio, `letterbox` pads with 128, `crop` cuts the longer side evenly.
        interpolation: Of the frames; class maps always go back by nearest neighbour.
    """

    mode: Literal["stretch", "letterbox", "crop"] = "stretch"
    interpolation: Literal["linear", "area", "nearest"] = "linear"


class Preprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies between a camera's frame and the network's input: `(frame - mean) / std`, per channel.

    Attributes:
        pixel_format: Of the uint8 frames that a session takes.
        channels: Order in which the network was trained.
        mean, std: For pixel values 0 to 255, in the order of `channels`.
        resize: How frames get to the network's size.
    """

    pixel_format: PixelFormat = "bgr"
    channels: Literal["rgb", "bgr"] = "rgb"
    mean: Triple = (128.0, 128.0, 128.0)
    std: Triple = (128.0, 128.0, 128.0)
    resize: Resize = Resize()


class Int8Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a graph is quantized in one dialect. The same recipe, graph and ranges give the same bytes.

    Attributes:
        calibrator: Picks thresholds from the ranges: `minmax`, `percentile:99.99`, `entropy`, `mse`.
        per_tensor: One scale for all weights of an operator instead of one per output channel.
        equalized: Channels between convolutions were brought to like magnitudes first.
        equalization: How, see `edgeseg.quantize.equalize`; the ranges are those of the equalized graph.
        bias_corrected: What quantization shifts the convolutions' means by was taken off their biases.
        corrections: How, by convolution: float32 little-endian per output channel, added to its bias.
        keep_float: Names of the nodes that stay in float beyond those of every recipe.

    A quantized graph and an engine have `equalization` and `corrections` in their weights, and not on their cards.
    """

    calibrator: str = "minmax"
    per_tensor: bool = False
    equalized: bool = False
    equalization: dict[str, bytes] = {}
    bias_corrected: bool = False
    corrections: dict[str, bytes] = {}
    keep_float: tuple[str, ...] = ()

    def without_arrays(self) -> Int8Recipe:
        """What is told of the recipe once it was followed."""
        return msgspec.structs.replace(self, equalization={}, corrections={})


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an engine of native code was built by and for. Texts are empty where there was no GPU.

    Attributes:
        version: Of the engine library, in full.
        gpu, compute_capability, multiprocessors: Of the GPU that it was built on; Jetsons of one name differ in the
            last.
        jetpack, l4t: Of the Jetson that it was built on.
    """

    version: str
    gpu: str = ""
    compute_capability: str = ""
    multiprocessors: int = 0
    jetpack: str = ""
    l4t: str = ""


#: A name that files can be given: no path, and nothing hidden.
PlainName = Annotated[str, msgspec.Meta(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$", max_length=200)]


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The card of one artefact.

    Attributes:
        kind: `graph` as exported, `prepared` for calibration, `quantized` with Q/DQ nodes, `engine` as built.
        model: Zoo name, or the stem of the file that the artefact came from.
        network: Name in the registry, empty for foreign graphs.
        options: Options of the network.
        classes: Names in the order of their indices.
        palette: One RGB colour per class.
        size_hw: Height and width of the network's input, None while symbolic.
        batch: Frames per call of an engine.
        logit: `softmax` for one channel per class; `threshold` for a single channel whose class is 1 above `threshold`.
        threshold: On the channel as the graph gives it (a probability is turned into a logit when it is cut off).
        probabilities: The graph gives probabilities and not logits, because it goes on with them.
        upsampling: Coordinates of the last bilinear resize.
        upsample: Size at which the best class is picked: `full`, `half` or `none` (the decoder's own).
        float_precision: Of the operators that an engine leaves in float.
        int8: Recipe by dialect: of a float graph those that were found for it, else the one that was followed.
        sha256: Of the engine file itself; empty in other artefacts, whose card lies inside.
        made_from: sha256 of what the artefact was made from, by role: `weights`, `graph`, `prepared`, `ranges`.
        tools: Version by tool.
        measured: Results by what was measured.
        licence: By what it covers: `code`, `weights`, `data`.
        identity: Of engines of native code.
        signature: Of such an engine's card, by the machine that built or trusted it.
    """

    schema: str = SCHEMA
    kind: Literal["graph", "prepared", "quantized", "engine"]
    model: PlainName
    network: str = ""
    options: dict[str, Any] = {}
    classes: tuple[str, ...]
    palette: tuple[tuple[Byte, Byte, Byte], ...]
    size_hw: tuple[int, int] | None = None
    batch: int = 1
    preprocess: Preprocess = Preprocess()
    logit: Literal["softmax", "threshold"] = "softmax"
    threshold: float = 0.0
    probabilities: bool = False
    upsampling: Upsampling = "half_pixel"
    upsample: Upsample = "half"
    sha256: str = ""
    backend: str = ""
    precision: Precision = "fp32"
    float_precision: Precision = "fp32"
    dialect: Dialect = "float"
    int8: dict[Dialect, Int8Recipe] = {}
    made_from: dict[str, str] = {}
    tools: dict[str, str] = {}
    measured: dict[str, Any] = {}
    licence: dict[str, str] = {}
    identity: Identity | None = None
    signature: str = ""

    @property
    def fixed_size_hw(self) -> tuple[int, int]:
        """Height and width of the input of a graph or engine that has a fixed one.

        Raises:
            ModelFileError: It is still symbolic.
        """
        if self.size_hw is None:
            raise ModelFileError(
                f"The input size of {self.model} is not fixed yet.", hint="Build it: edgeseg build MODEL"
            )
        return self.size_hw

    @property
    def num_classes(self) -> int:
        """How many classes a class map may hold."""
        return len(self.classes)


def tail_size(size_hw: tuple[int, int], logits_hw: tuple[int, int], upsample: Upsample) -> tuple[int, int]:
    """Height and width at which the best class is picked; never below the logits' own size."""
    if upsample == "full":
        return size_hw
    if upsample == "none":
        return logits_hw
    half = (-(-size_hw[0] // 2), -(-size_hw[1] // 2))
    return half if half[0] > logits_hw[0] and half[1] > logits_hw[1] else logits_hw


def encode_card(card: Card) -> str:
    """The card as one line of JSON."""
    return msgspec.json.encode(card).decode()


def decode_card(text: str | bytes, *, where: str) -> Card:
    """The card in `text`.

    Raises:
        ModelFileError: It is no card of this version; `where` names the file.
    """
    try:
        card = msgspec.json.decode(text, type=Card)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ModelFileError(
            f"The card of {where} can't be read: {error}.", hint="Build it anew with edgeseg build."
        ) from error
    if card.schema != SCHEMA:
        raise ModelFileError(f"The card of {where} has schema {card.schema}; this edgeseg reads {SCHEMA}.")
    return card


def card_path(engine: Path) -> Path:
    """Where the card of an engine lies: the engine's whole name and `.json`."""
    return engine.with_name(engine.name + ".json")


def read_card(engine: Path) -> Card:
    """The card beside an engine.

    Raises:
        ModelFileError: There is none, or it can't be read.
    """
    path = card_path(engine)
    if not path.is_file():
        raise ModelFileError(
            f"The engine {engine} has no card; {path.name} was expected beside it.",
            hint="Build engines with edgeseg build, and move both files together.",
        )
    return decode_card(path.read_bytes(), where=str(engine))


def write_card(engine: Path, card: Card) -> None:
    """Write the card of an engine beside it, whole or not at all."""
    write_bytes(card_path(engine), msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
