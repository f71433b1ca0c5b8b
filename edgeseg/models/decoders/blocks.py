"""Runs of layers that several decoders are made of."""

from __future__ import annotations

from torch import nn

from edgeseg.models.layers import conv_bn

__all__ = ["conv_block", "separable_block"]


def conv_block(cin: int, cout: int, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch normalization and ReLU; the map keeps its size."""
    return nn.Sequential(*conv_bn(cin, cout, kernel, activation=nn.ReLU))


def separable_block(cin: int, cout: int, *, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3 and 1x1 convolution, batch normalization and ReLU behind each; the map keeps its size.

    Source: Howard et al., "MobileNets", 2017, arXiv 1704.04861.
    """
    depthwise = conv_bn(cin, cin, 3, dilation=dilation, groups=cin, activation=nn.ReLU)
    return nn.Sequential(*depthwise, *conv_bn(cin, cout, activation=nn.ReLU))
