"""Quantization-aware training: a network is trained with the rounding that an INT8 engine does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgeseg.models.decoders import Segmenter
from edgeseg.train.precision import FloatConv2d

__all__ = ["quantize_convolutions", "round_activations", "round_weights"]

#: Colours of the frames, whose whole numbers an engine reads as they are.
COLOURS = 3


class QuantizedConv2d(nn.Conv2d):
    """A convolution that, while it is trained, reads its input and its weights in eight bits."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.training:
            weight = round_weights(weight)
            input = input if self.in_channels == COLOURS else round_activations(input)
        output: Tensor = super()._conv_forward(input, weight, bias)
        return output


class QuantizedFloatConv2d(QuantizedConv2d, FloatConv2d):
    """The same in float32."""


def quantize_convolutions(net: Segmenter) -> None:
    """Let the convolutions of a network round to eight bits in training mode, its classifiers apart.

    These are the decoder's only convolutions with a bias, since no normalization follows them. Ranges are those of the
    batch, so that nothing but weights is learned, and the keys of the network stay the same (Jacob et al.,
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018). Weights
    have a scale for each output channel, which batch normalization behind them does not change.
    """
    quantized: dict[type[nn.Module], type[nn.Module]] = {
        nn.Conv2d: QuantizedConv2d,
        FloatConv2d: QuantizedFloatConv2d,
    }
    backbone = set(net.features().modules())
    for module in net.modules():
        if type(module) in quantized and (module in backbone or module.bias is None):
            module.__class__ = quantized[type(module)]


def round_activations(x: Tensor) -> Tensor:
    """Rounded to 256 steps from its smallest to its largest value, zero among them; gradients pass unchanged."""
    low, high = x.detach().amin(), x.detach().amax()
    scale = (high.float().clamp(min=0) - low.float().clamp(max=0)) / 255
    rounded: Tensor = _Round.apply(x, scale)  # type: ignore[no-untyped-call]
    return rounded


def round_weights(weight: Tensor) -> Tensor:
    """`(O, I, H, W)` rounded to 255 steps around zero for each output channel; gradients pass unchanged."""
    scale = weight.detach().abs().amax((1, 2, 3), keepdim=True) / 127
    rounded: Tensor = _Round.apply(weight, scale)  # type: ignore[no-untyped-call]
    return rounded


class _Round(torch.autograd.Function):
    """Rounding to multiples of a scale with the straight-through estimator; on CPUs torch's own takes longer."""

    @staticmethod
    def forward(_: Any, x: Tensor, scale: Tensor) -> Tensor:
        scale = scale.clamp(min=torch.finfo(torch.float32).tiny)
        return x.div(scale).round_().mul_(scale)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
