"""Calibration runs: a prepared graph in float, every tensor looked at, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime as ort

from edgeseg import __version__
from edgeseg.errors import ModelFileError, UsageError
from edgeseg.graph.io import weights_sha256
from edgeseg.graph.passes.adopt_frames import PIXELS
from edgeseg.graph.runtime import open_graph
from edgeseg.graph.values import cuts_edge
from edgeseg.quantize.histogram import TensorRange
from edgeseg.quantize.ranges import Ranges, size_hw

__all__ = ["measure_ranges"]

Pixels = npt.NDArray[np.float32]
TOOLS = {"edgeseg": __version__, "numpy": np.__version__, "onnxruntime": ort.__version__}


def measure_ranges(
    prepared: ir.Model,
    pixels: Iterable[Pixels],
    *,
    calibration_sha256: str,
    frame_keys: Collection[str] = (),
    threads: int = 0,
    group_mb: int = 512,
    on_frame: Callable[[int], None] = lambda _: None,
) -> Ranges:
    """Run a prepared graph in float and record the range of every float tensor, but of those that are parts of one.

    One frame's tensors are held at a time; where they are more than `group_mb`, the graph is run once per group.

    Args:
        prepared: One input `pixels`, static shape.
        pixels: float32 arrays of the input's shape.
        calibration_sha256: Hash of the set that they come from.
        frame_keys: By which its frames are known again.
        threads: Of ONNX Runtime; 0 takes all cores.
        group_mb: Megabytes to hold at once.
        on_frame: Told how many frames are done, after each.

    Raises:
        UsageError: There are no frames, or their shape is not the input's.
        ModelFileError: The graph can't be run, or gives values that are not finite.
    """
    groups = _groups(prepared, group_mb << 20)
    # Fused kernels would round differently depending on which tensors a group asks for.
    sessions = [open_graph(prepared, names, threads=threads, fuse=False) for names in groups]
    expected = tuple(prepared.graph.inputs[0].shape or ())
    found: dict[str, TensorRange] = {}
    frames = 0
    for frame in pixels:
        _check(frame, expected, frames)
        _update(found, PIXELS, frame, frames)
        for names, session in zip(groups, sessions, strict=True):
            for name, values in zip(names, session.run(names, {PIXELS: frame}), strict=True):
                _update(found, name, values, frames)
        frames += 1
        on_frame(frames)
    if not frames:
        raise UsageError("There are no frames to calibrate on.", hint="Pass a folder of images, a list or a video.")
    return Ranges(
        found,
        weights_sha256(prepared),
        size_hw(prepared),
        frames,
        (calibration_sha256,),
        TOOLS,
        tuple(sorted(frame_keys)),
    )


def _check(frame: Pixels, expected: tuple[object, ...], index: int) -> None:
    if frame.shape != expected or frame.dtype != np.float32:
        raise UsageError(f"Frame {index} is {frame.dtype} {frame.shape}; the graph takes float32 {expected}.")


def _update(found: dict[str, TensorRange], name: str, values: Pixels, frame: int) -> None:
    before = found.get(name)
    try:
        now = TensorRange.of(values) if before is None else TensorRange.of(values, before.exponent)
    except ValueError as error:
        raise ModelFileError(
            f"Tensor '{name}' can't be calibrated on frame {frame}: {error}.",
            hint="Do the weights and the preprocessing belong together? Check with edgeseg inspect.",
        ) from error
    found[name] = now if before is None else before + now


def _groups(prepared: ir.Model, limit: int) -> list[list[str]]:
    """Names of the float tensors to measure in the graph's order, in groups of about `limit` bytes, at least one."""
    groups: list[list[str]] = [[]]
    held = 0
    for value in (value for node in prepared.graph if not cuts_edge(node) for value in node.outputs):
        if value.name and value.dtype == ir.DataType.FLOAT:
            size = 4 * int(np.prod(value.shape.numpy())) if value.shape is not None and value.shape.is_static() else 0
            if groups[-1] and held + size > limit:
                groups.append([])
                held = 0
            groups[-1].append(value.name)
            held += size
    return groups
