"""Mixed precision that pays on CPUs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["keep_depthwise_in_float"]


class FloatConv2d(nn.Conv2d):
    """A convolution that computes in float32 and answers in its input's type."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float()).to(x.dtype)


def keep_depthwise_in_float(net: nn.Module) -> None:
    """Let the depthwise convolutions whose bfloat16 gradients are slow on CPUs compute in float32.

    These are those with a stride and those larger than 3x3, whose backward pass oneDNN has no fast kernel for in
    bfloat16.
    """
    for module in net.modules():
        if type(module) is not nn.Conv2d or not module.groups == module.in_channels > 1:
            continue
        if module.stride != (1, 1) or module.kernel_size != (3, 3):
            module.__class__ = FloatConv2d
