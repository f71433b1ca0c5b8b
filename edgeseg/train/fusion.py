"""Networks that only answer, made faster."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["fuse_normalization"]


def fuse_normalization(net: nn.Module) -> None:
    """Fold the batch normalizations of a network in eval mode into the convolutions right before them."""
    for block in [module for module in net.modules() if isinstance(module, nn.Sequential)]:
        for index, (conv, norm) in enumerate(zip(block, list(block)[1:], strict=False)):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block[index] = fuse_conv_bn_eval(conv, norm)
                block[index + 1] = nn.Identity()
