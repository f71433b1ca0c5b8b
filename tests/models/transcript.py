"""The forward passes of the LiteSeg checkpoints written down a second time, in functions over their keys.

What they say is a table of facts about the checkpoints: paddings, groups, dilations, and where an activation is
missing. Nothing is shared with the networks under test.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def liteseg(state: State, image: Tensor, backbone: Callable[[State, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Logits at the image's size; the backbone gives its deepest map and the low-level one."""
    x, low = backbone(state, image)
    branches = [norm(state, "aspp1.bn", separable(state, "aspp1.atrous_convolution", x))]
    for number, rate in ((2, 3), (3, 6), (4, 9)):
        y = separable(state, f"aspp{number}.atrous_convolution", x, rate)
        y = separable(state, f"aspp{number}.conv1", norm(state, f"aspp{number}.bn", y))
        branches.append(F.relu(norm(state, f"aspp{number}.bn1", y)))
    pooled = F.conv2d(x.mean((2, 3), keepdim=True), state["global_avg_pool.1.weight"])
    pooled = resized(F.relu(norm(state, "global_avg_pool.2", pooled)), x.shape[2:])
    y = torch.cat([x, *branches, pooled], 1)
    y = F.relu(norm(state, "bn1", separable(state, "conv1", y)))
    if "conv2.pointwise.weight" in state:
        low = F.relu(norm(state, "bn2", separable(state, "conv2", low)))
    y = torch.cat([resized(y, low.shape[2:]), low], 1)
    for index in (0, 3):
        y = F.relu(norm(state, f"last_conv.{index + 1}", separable(state, f"last_conv.{index}", y)))
    return resized(F.conv2d(y, state["last_conv.6.weight"], state["last_conv.6.bias"]), image.shape[2:])


def shufflenet(state: State, image: Tensor) -> tuple[Tensor, Tensor]:
    root = "shuffle_features.module"
    x = F.conv2d(image, state[f"{root}.conv1.weight"], state[f"{root}.conv1.bias"], stride=2, padding=1)
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    maps = []
    for stage, units in ((2, 4), (3, 8), (4, 4)):
        for number in range(units):
            unit, first = f"{root}.stage{stage}.ShuffleUnit_Stage{stage}_{number}", number == 0
            stride, groups = 2 if first else 1, 1 if first and stage == 2 else 8
            y = F.relu(grouped(state, f"{unit}.g_conv_1x1_compress", x, groups))
            n, channels, height, width = y.shape
            y = y.view(n, 8, channels // 8, height, width).transpose(1, 2).reshape(n, channels, height, width)
            weight, bias = state[f"{unit}.depthwise_conv3x3.weight"], state[f"{unit}.depthwise_conv3x3.bias"]
            y = F.conv2d(y, weight, bias, stride=stride, padding=1, groups=channels)
            y = grouped(state, f"{unit}.g_conv_1x1_expand", norm(state, f"{unit}.bn_after_depthwise", y), 8)
            x = F.relu(torch.cat([F.avg_pool2d(x, 3, stride=2, padding=1), y], 1) if first else x + y)
        maps.append(x)
    return maps[2], maps[0]


def darknet(state: State, image: Tensor) -> tuple[Tensor, Tensor]:
    x, maps = image, {}
    for layer in range(1, 24):
        if layer == 18:
            continue
        if layer in (2, 4, 8, 12):
            x = F.max_pool2d(x, 2, stride=2)
            continue
        key = f"resnet_features.layers.{layer}_convbatch.layers"
        padding, dilation = 0 if layer in (6, 10, 22) else 1, 2 if layer in (19, 21, 23) else 1
        x = F.conv2d(x, state[f"{key}.0.weight"], padding=padding, dilation=dilation)
        x = maps[layer] = F.leaky_relu(norm(state, f"{key}.1", x), 0.1)
    return maps[23], maps[7]


def separable(state: State, key: str, x: Tensor, rate: int = 1) -> Tensor:
    depthwise, pointwise = state[f"{key}.conv1.weight"], state[f"{key}.pointwise.weight"]
    padding = rate if depthwise.shape[2] == 3 else 0
    return F.conv2d(F.conv2d(x, depthwise, padding=padding, dilation=rate, groups=x.shape[1]), pointwise)


def grouped(state: State, key: str, x: Tensor, groups: int) -> Tensor:
    y = F.conv2d(x, state[f"{key}.conv1x1.weight"], state[f"{key}.conv1x1.bias"], groups=groups)
    return norm(state, f"{key}.batch_norm", y)


def norm(state: State, key: str, x: Tensor) -> Tensor:
    mean, var, weight, bias = (state[f"{key}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias, eps=1e-5)


def resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)
