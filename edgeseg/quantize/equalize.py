"""Equalization: channels of one tensor brought to like magnitudes, the function unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.errors import ModelFileError
from edgeseg.graph.passes.adopt_frames import PIXELS
from edgeseg.graph.runtime import open_graph
from edgeseg.graph.values import add_constant
from edgeseg.quantize.channels import Channels, channel_count

__all__ = ["channel_peaks", "equalize", "find_equalization"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

SWEEPS = 20
#: Largest share of a power of two that is rounded down. Less than half: a factor too small may widen the range of all
#: channels, one too large costs the weights of its own.
DOWN = 0.35
#: Binary logarithm of how far below a tensor's largest channel another may lie to be made like it. What lies lower,
#: or at zero, may be larger on other frames.
WIDEST = 16
#: Binary logarithm of the largest factor, so that no product of weights and factors leaves float32.
LARGEST = 60


def channel_peaks(prepared: ir.Model, pixels: Iterable[Float32]) -> dict[str, Float32]:
    """The largest magnitude of each channel of every four-dimensional tensor: `(C,)` float32 by tensor.

    A tensor that only Relu or Clip reads is left out: what it holds is cut before it is rounded.

    Args:
        prepared: A float graph.
        pixels: float32 arrays as it takes them.
    """
    bare = prepared.clone()
    values = [value for node in bare.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT]
    asked = {f"{value.name}.peak": value for value in values if channel_count(value) and not _is_cut(value)}
    # ONNX Runtime computes what leads to the last node first. In this order it begins with the first tensor, and need
    # not hold all of them until the end.
    for name, value in reversed(asked.items()):
        magnitudes = ir.node("Abs", [value])
        peak = ir.node("GlobalMaxPool", magnitudes.outputs)
        magnitudes.outputs[0].name, peak.outputs[0].name = f"{value.name}.magnitude", name
        bare.graph.extend([magnitudes, peak])
    session = open_graph(bare, list(asked))
    peaks: dict[str, Float32] = {}
    for frame in pixels:
        for value, found in zip(asked.values(), session.run(list(asked), {PIXELS: frame}), strict=True):
            peak_now = found.max((0, 2, 3))
            peaks[value.name or ""] = np.maximum(peaks.get(value.name or "", peak_now), peak_now)
    return peaks


def find_equalization(prepared: ir.Model, peaks: Mapping[str, Float32]) -> dict[str, bytes]:
    """By what power of two each channel between convolutions is divided, and multiplied back by what reads it.

    The factor is the root of the channel's magnitude over the weight that its reader gives it, relative to the others
    (Nagel, van Baalen, Blankevoort, Welling, "Data-free quantization through weight equalization and bias
    correction", ICCV 2019, section 4.1, with measured activations in the place of the weights before them: Xiao et
    al., "SmoothQuant", ICML 2023, section 4).

    1. A factor passes through Relu, pooling, Resize, cut edges and Concat; tensors that meet in an Add share theirs.
    2. Any other operator, such as Clip, pins the channels that it reads and gives at 1.

    Args:
        prepared: A float graph.
        peaks: By `channel_peaks`.

    Returns:
        For `equalize`: by convolution the exponents of the channels that it reads and then makes, int8.
    """
    channels = Channels.of(prepared.graph)
    exponents = _solve(channels, peaks)
    return {
        node.name or "": np.concatenate([exponents[read], exponents[made]]).astype(np.int8).tobytes()
        for node, read, made in channels.convs
    }


def equalize(prepared: ir.Model, equalization: Mapping[str, bytes]) -> ir.Model:
    """A graph that computes the same, to the last bit of its logits, with channels of like magnitudes.

    Args:
        prepared: A float graph; left as it is.
        equalization: By `find_equalization`, of the same graph at whatever size. An empty one changes nothing.

    Raises:
        ModelFileError: It is of another graph.
    """
    model = prepared.clone()
    if equalization:
        channels = Channels.of(model.graph)
        factors = np.exp2(_exponents_of(channels, equalization))
        for conv, read, made in channels.convs:
            _scale(model.graph, conv, factors[read], factors[made])
    return model


def _exponents_of(channels: Channels, equalization: Mapping[str, bytes]) -> Float64:
    """The exponent of each factor. Only where all convolutions agree on it does the graph compute the same."""
    exponents = np.zeros(len(channels.parents))
    given = {}
    for conv, read, made in channels.convs:
        told = np.frombuffer(equalization.get(conv.name or "", b""), np.int8)
        if len(told) == len(read) + len(made):
            given[conv.name or ""] = np.concatenate([read, made]), told
            exponents[np.concatenate([read, made])] = told
    exponents[list(channels.pinned)] = 0
    fitting = {name for name, (indices, told) in given.items() if np.array_equal(exponents[indices], told)}
    wrong = sorted((set(equalization) | {conv.name or "" for conv, _, _ in channels.convs}) - fitting)
    if wrong:
        raise ModelFileError(f"The equalization is of another graph: it does not fit convolution '{wrong[0]}'.")
    return exponents


def _is_cut(value: ir.Value) -> bool:
    """Whether only Relu or Clip read a tensor."""
    readers = value.uses()
    return bool(readers) and all(usage.node.op_type in ("Clip", "Relu") for usage in readers)


def _solve(channels: Channels, peaks: Mapping[str, Float32]) -> Float64:
    """The binary logarithm of each channel's factor, a whole number."""
    peak = _peaks_of(channels, peaks)
    free = peak > 0
    free[list(channels.pinned)] = False
    magnitudes = [(_magnitudes(node), read) for node, read, _ in channels.convs]
    factors = np.ones(len(peak))
    for _ in range(SWEEPS):
        weight = np.zeros(len(peak))
        for magnitude, read in magnitudes:
            largest = (peak[read] / factors[read]).max()
            np.maximum.at(weight, read, largest * _relative(magnitude, factors[read]))
        moving = free & (weight > 0)
        factors[moving] *= (peak[moving] / factors[moving] / weight[moving]) ** 0.5
    return np.clip(np.ceil(np.log2(factors) - DOWN), -LARGEST, LARGEST)


def _peaks_of(channels: Channels, peaks: Mapping[str, Float32]) -> Float64:
    """The peak of each factor's channels, zero only where whole tensors are."""
    tensors = [(indices, peaks[name]) for name, indices in channels.tensors.items() if name in peaks and len(indices)]
    peak, largest = np.zeros((2, len(channels.parents)))
    for indices, found in tensors:
        np.maximum.at(peak, indices, found)
    for indices, _ in tensors:
        np.maximum.at(largest, indices, peak[indices].max())
    return np.where(peak > 0, np.maximum(peak, largest / 2**WIDEST), largest)


def _magnitudes(conv: ir.Node) -> Float64:
    """`(O, I / groups)` largest magnitude of the weights over the kernel."""
    weights = _constant(conv, 1)
    magnitudes: Float64 = np.abs(weights).reshape(*weights.shape[:2], -1).max(2)
    return magnitudes


def _relative(magnitude: Float64, factors: Float64) -> Float64:
    """`(I,)` largest share that each channel has in the range of an output's weights."""
    outputs, inputs = magnitude.shape
    groups = len(factors) // inputs
    scaled = magnitude.reshape(groups, outputs // groups, inputs) * factors.reshape(groups, 1, inputs)
    widest = scaled.max(2, keepdims=True)
    share = np.divide(scaled, widest, out=np.zeros_like(scaled), where=widest > 0)
    return np.asarray(share.max(1).reshape(-1), np.float64)


def _scale(graph: ir.Graph, conv: ir.Node, read: Float64, made: Float64) -> None:
    if not ((read != 1).any() or (made != 1).any()):
        return
    weights = _constant(conv, 1)
    groups = len(read) // weights.shape[1]
    columns = np.repeat(read.reshape(groups, weights.shape[1]), len(weights) // groups, 0)
    scaled = weights * (columns / made[:, None]).reshape(*weights.shape[:2], *[1] * (weights.ndim - 2))
    _replace(graph, conv, 1, scaled)
    if len(conv.inputs) > 2 and conv.inputs[2] is not None:
        _replace(graph, conv, 2, _constant(conv, 2) / made)


def _constant(conv: ir.Node, index: int) -> Float64:
    value = conv.inputs[index]
    assert value is not None and value.const_value is not None
    array: Float64 = value.const_value.numpy().astype(np.float64)
    return array


def _replace(graph: ir.Graph, conv: ir.Node, index: int, array: Float64) -> None:
    old = conv.inputs[index]
    assert old is not None
    new = add_constant(graph, f"{old.name}.equalized.{conv.name}", array.astype(np.float32))
    conv.replace_input_with(index, new)
    if not old.uses():
        graph.initializers.pop(old.name or "", None)
