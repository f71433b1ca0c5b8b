"""What every peer is given: frames, labels, and the trained default network in the forms that its users would have."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import onnx_ir as ir

from edgeseg.card import Card
from edgeseg.catalog import DEFAULT_MODEL, zoo_model
from edgeseg.data.calibration import open_frames
from edgeseg.data.labelled import find_data_set, open_labelled
from edgeseg.errors import EdgesegError, UsageError
from edgeseg.files import atomic_path, sha256_file, write_bytes
from edgeseg.graph.export import TOLERANCE, relative_error
from edgeseg.graph.io import load_graph, require_card

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SIZE_HW", "Material", "open_material", "restored_network"]

#: Of frames, networks and class maps alike: CamVid's frames as they lie on disk.
SIZE_HW: Final = (360, 480)
#: The default of `nncf.quantize`.
CALIBRATION_FRAMES: Final = 300


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of plain files; this is its `material.json`, which the peers read too.

    Attributes:
        model: Of edgeseg's zoo.
        model_sha256: Of its file.
        data: The data set's folder.
        classes: Of the class maps, in the order of their indices.
        size_hw: Of every frame and of the network's input and output.
        mean, std: Of the normalization of RGB images, in the frames' units of 0 to 255.
        frames: Labelled frames: `frames.npy` and `labels.npy`, uint8 `(N, H, W, 3)` BGR and `(N, H, W)`.
        frames_sha256: Of `frames.npy`.
        calibration: Frames of `calibration.npy`, from the train split, none of which is labelled here.
        calibration_sha256: Of that file.
    """

    schema: str = "edgeseg.peers-material/1"
    model: str
    model_sha256: str
    data: str
    classes: tuple[str, ...]
    size_hw: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    frames: int
    frames_sha256: str
    calibration: int
    calibration_sha256: str


def open_material(data: str, folder: Path) -> Material:
    """The material in a folder, made anew where the folder has none of this model and data.

    Beside the frames there are `network.onnx`, `network.pt2` and `network.pt`: normalized RGB images `(1, 3, H, W)` in,
    logits at full size out, as `torch.onnx.export`, `torch.export` and `torch.jit.trace` write them.

    Args:
        data: A data set's folder with `train/` and `val/`, or its name.
        folder: Where the files lie.

    Raises:
        UsageError: There is no such data set, or its frames have another size.
        MissingDependency, EdgesegError: The network could not be exported.
    """
    root = (Path(data) if Path(data).is_dir() else find_data_set(data)).resolve()
    about = folder / "material.json"
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        found = msgspec.json.decode(about.read_bytes(), type=Material)
        if (found.model_sha256, found.data) == (sha256_file(zoo_model(DEFAULT_MODEL)), str(root)):
            return found
    folder.mkdir(parents=True, exist_ok=True)
    graph = load_graph(zoo_model(DEFAULT_MODEL))
    card = require_card(graph)
    export_network(restored_network(graph, card), folder)
    frames = write_labelled(root / "val", len(card.classes), folder)
    calibration = open_frames(str(root / "train" / "images"), limit=CALIBRATION_FRAMES)
    _write_array(folder / "calibration.npy", np.stack([_whole(frame) for _, frame in calibration]))
    material = Material(
        model=DEFAULT_MODEL,
        model_sha256=sha256_file(zoo_model(DEFAULT_MODEL)),
        data=str(root),
        classes=card.classes,
        size_hw=SIZE_HW,
        mean=card.preprocess.mean,
        std=card.preprocess.std,
        frames=frames,
        frames_sha256=sha256_file(folder / "frames.npy"),
        calibration=len(calibration),
        calibration_sha256=sha256_file(folder / "calibration.npy"),
    )
    write_bytes(about, msgspec.json.format(msgspec.json.encode(material), indent=2) + b"\n")
    return material


def write_labelled(folder: Path, num_classes: int, out: Path) -> int:
    """Write `frames.npy` and `labels.npy` of a labelled folder, and return how many there are."""
    frames, labels = zip(*open_labelled(folder, num_classes), strict=True)
    _write_array(out / "frames.npy", np.stack([_whole(frame) for frame in frames]))
    _write_array(out / "labels.npy", np.stack(labels))
    return len(frames)


def restored_network(graph: ir.Model, card: Card) -> nn.Module:
    """The torch network whose float graph is shipped, compared with it.

    The shipped graph has its batch norms folded into the convolutions. Here they are layers again, as in the network
    that was trained, with the folded shift as their bias and nothing else to do.

    Raises:
        EdgesegError: It does not compute what the graph does.
    """
    import torch
    from torch import nn

    from edgeseg.models import create_model

    assert card.network is not None, "shipped models name their network"
    net = create_model(card.network, num_classes=len(card.classes), **card.options)
    held = {name: value.const_value for name, value in graph.graph.initializers.items()}
    weights = {name: torch.from_numpy(tensor.numpy().copy()) for name, tensor in held.items() if tensor is not None}
    convolution = ""
    with torch.no_grad():
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Conv2d):
                convolution = name
                layer.weight.copy_(weights[f"{name}.weight"])
                if layer.bias is not None:
                    layer.bias.copy_(weights[f"{name}.bias"])
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
                layer.weight.fill_((1 + layer.eps) ** 0.5)
                layer.bias.copy_(weights[f"{convolution}.weight_bias"])
    error = relative_error(net, graph, (1, 3, *SIZE_HW))
    if not error < TOLERANCE:
        raise EdgesegError(f"The network that was restored differs from the shipped graph: relative error {error:.1e}.")
    return net


def export_network(net: nn.Module, folder: Path) -> None:
    """Write `network.pt2`, `network.pt` and `network.onnx`."""
    import torch

    example = (torch.zeros(1, 3, *SIZE_HW),)
    with _quiet(), torch.no_grad():
        with atomic_path(folder / "network.pt2") as part:
            torch.export.save(torch.export.export(net, example), part)
        with atomic_path(folder / "network.pt") as part:
            torch.jit.trace(net, example).save(part)  # type: ignore[no-untyped-call]
        with atomic_path(folder / "network.onnx") as part:
            names: Any = {"input_names": ["image"], "output_names": ["logits"]}
            torch.onnx.export(net, example, part, dynamo=True, external_data=False, verbose=False, **names)


def _whole(frame: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if frame.shape != (*SIZE_HW, 3):
        raise UsageError(
            f"A frame is {frame.shape[1]}x{frame.shape[0]}; the comparison is at {SIZE_HW[1]}x{SIZE_HW[0]}.",
            hint="Give CamVid as it is usually passed on, at 480x360.",
        )
    return frame


def _write_array(path: Path, array: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    content = io.BytesIO()
    np.save(content, array)
    write_bytes(path, content.getvalue())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporters print what they do and warn of what is to come."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
