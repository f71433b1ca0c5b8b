"""Ranges: what every tensor of a prepared graph held on the frames of a calibration set."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelFileError
from edgeseg.files import atomic_path
from edgeseg.quantize.histogram import BINS, TensorRange

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Ranges", "check_ranges", "load_ranges", "save_ranges", "size_hw"]

SCHEMA = "edgeseg.ranges/1"
#: Unpacked bytes that a file of ranges may have; a million tensors would not fill it honestly.
LARGEST = 1 << 30


@dataclass(frozen=True, eq=False)
class Ranges:
    """Ranges of all float tensors of one prepared graph.

    Attributes:
        tensors: By the tensor's name, in the order of the graph.
        weights_sha256: Of the prepared graph that they belong to.
        size_hw: Height and width that they were measured at.
        frames: How many.
        calibration_sha256: Of each calibration set that went in, sorted.
        tools: Version by tool that measured them.
        frame_keys: By which the frames are known again, sorted, so that no engine is judged on them.
    """

    tensors: Mapping[str, TensorRange]
    weights_sha256: str
    size_hw: tuple[int, int]
    frames: int
    calibration_sha256: tuple[str, ...]
    tools: Mapping[str, str]
    frame_keys: tuple[str, ...] = ()

    def merge(self, other: Ranges) -> Ranges:
        """The ranges of both parts of a calibration set, the same in whatever order parts are merged.

        Raises:
            ModelFileError: They belong to other weights or another size.
        """
        if (self.weights_sha256, self.size_hw) != (other.weights_sha256, other.size_hw):
            raise ModelFileError(
                "Ranges of different weights or sizes can't be merged: "
                f"{self.weights_sha256[:12]} at {self.size_hw}, {other.weights_sha256[:12]} at {other.size_hw}."
            )
        return Ranges(
            {name: found + other.tensors[name] for name, found in self.tensors.items()},
            self.weights_sha256,
            self.size_hw,
            self.frames + other.frames,
            tuple(sorted({*self.calibration_sha256, *other.calibration_sha256})),
            {**other.tools, **self.tools},
            tuple(sorted({*self.frame_keys, *other.frame_keys})),
        )

    def sha256(self) -> str:
        """Canonical hash of what was measured and on what, without the versions of the tools."""
        digest = hashlib.sha256(f"{self.weights_sha256} {self.size_hw} {self.frames}".encode())
        digest.update(" ".join(self.calibration_sha256).encode())
        for name in sorted(self.tensors):
            found = self.tensors[name]
            digest.update(f"{name} {found.minimum!r} {found.maximum!r} {found.exponent}".encode())
            digest.update(found.counts.astype("<i8").tobytes())
        return digest.hexdigest()


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: str = SCHEMA
    tensors: list[str]
    weights_sha256: str
    size_hw: tuple[int, int]
    frames: int
    calibration_sha256: tuple[str, ...]
    tools: dict[str, str]
    frame_keys: tuple[str, ...] = ()


def save_ranges(ranges: Ranges, path: str | Path) -> None:
    """Write ranges as compressed `.npz`, whole or not at all. About 1 MB for 130 tensors."""
    header = _Header(
        tensors=list(ranges.tensors),
        weights_sha256=ranges.weights_sha256,
        size_hw=ranges.size_hw,
        frames=ranges.frames,
        calibration_sha256=ranges.calibration_sha256,
        tools=dict(ranges.tools),
        frame_keys=ranges.frame_keys,
    )
    found = ranges.tensors.values()
    with atomic_path(Path(path)) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            header=np.frombuffer(msgspec.json.encode(header), np.uint8),
            limits=np.array([(one.minimum, one.maximum) for one in found], np.float32),
            exponents=np.array([one.exponent for one in found], np.int16),
            counts=np.array([one.counts for one in found], np.int64),
        )


def load_ranges(path: str | Path) -> Ranges:
    """Read ranges; nothing in the file is run.

    Raises:
        ModelFileError: The file is missing, damaged, or no ranges of this version.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(
            f"There is no file of ranges at {path}.", hint=f"Make one: edgeseg calibrate MODEL SOURCE -o {path}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise ValueError("it unpacks to more than a gigabyte")
        with np.load(path, allow_pickle=False) as arrays:
            return _unpack(*(arrays[name] for name in ("header", "limits", "exponents", "counts")))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, msgspec.MsgspecError) as error:
        reason = str(error).split("\n")[0].rstrip(".") or "the file ends too soon"
        raise ModelFileError(
            f"The ranges {path} can't be read: {reason}.",
            hint="Measure anew: edgeseg calibrate MODEL SOURCE -o NEW.ranges.npz",
        ) from error


def _unpack(
    header: npt.NDArray[np.uint8],
    limits: npt.NDArray[np.float32],
    exponents: npt.NDArray[np.int16],
    counts: npt.NDArray[np.int64],
) -> Ranges:
    """Ranges from a file's arrays, each checked; ValueError where they do not fit together."""
    about = msgspec.json.decode(header.tobytes(), type=_Header)
    if about.schema != SCHEMA:
        raise ValueError(f"its schema is {about.schema}, this edgeseg reads {SCHEMA}")
    tensors = len(about.tensors)
    expected: list[tuple[str, npt.NDArray[Any], tuple[int, ...], str]] = [
        ("limits", limits, (tensors, 2), "f4"),
        ("exponents", exponents, (tensors,), "i2"),
        ("counts", counts, (tensors, BINS), "i8"),
    ]
    for name, array, shape, dtype in expected:
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise ValueError(f"{name} is {array.dtype} {array.shape}, {dtype} {shape} was expected")
    if not np.isfinite(limits).all() or (limits[:, 0] > limits[:, 1]).any() or (counts < 0).any():
        raise ValueError("its limits or counts are impossible")
    found = zip(limits.tolist(), exponents.tolist(), counts, strict=True)
    return Ranges(
        dict(zip(about.tensors, (TensorRange(low, high, k, row) for (low, high), k, row in found), strict=True)),
        about.weights_sha256,
        about.size_hw,
        about.frames,
        about.calibration_sha256,
        about.tools,
        about.frame_keys,
    )


def check_ranges(ranges: Ranges, prepared: ir.Model) -> str:
    """Whether ranges belong to a prepared graph.

    Returns:
        A warning where they were measured at another size, else nothing.

    Raises:
        ModelFileError: They belong to other weights.
    """
    from edgeseg.graph.io import weights_sha256

    own = weights_sha256(prepared)
    if ranges.weights_sha256 != own:
        raise ModelFileError(
            f"These are ranges of other weights: measured on {ranges.weights_sha256[:12]}, the model has {own[:12]}.",
            hint="Measure anew: edgeseg calibrate MODEL SOURCE -o NEW.ranges.npz",
        )
    if ranges.size_hw == (size := size_hw(prepared)):
        return ""
    (was_h, was_w), (is_h, is_w) = ranges.size_hw, size
    return f"The ranges were measured at {was_h}x{was_w}, the model is {is_h}x{is_w}; INT8 may lose more accuracy."


def size_hw(prepared: ir.Model) -> tuple[int, int]:
    """Height and width of a prepared graph's input.

    Raises:
        ModelFileError: Its shape is not fixed.
    """
    shape = prepared.graph.inputs[0].shape
    if shape is None or len(shape) != 4 or not shape.is_static():
        raise ModelFileError(f"The graph's input is {shape}; a prepared graph of static shape is needed.")
    height, width = shape.numpy()[2:]
    return int(height), int(width)
