"""What a training step minimizes: a network, its auxiliary heads, and its teacher."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from safetensors import safe_open
from torch import Tensor, nn

from edgeseg.errors import ModelFileError, UsageError
from edgeseg.labels import label_set
from edgeseg.models import create_model, load_weights
from edgeseg.models.decoders import Segmenter
from edgeseg.models.layers import conv_bn, upsample
from edgeseg.train.fusion import fuse_normalization
from edgeseg.train.losses import channel_divergence, label_loss, logit_divergence
from edgeseg.train.recipe import Distillation, Training, TrainRecipe

__all__ = ["Objective", "load_teacher"]

#: Channels of an auxiliary head.
AUX_WIDTH = 64


class Objective(nn.Module):
    """Images and labels in, the loss out. Only `net` is what a run is for; the rest teaches it.

    Args:
        net: The network to train.
        recipe: Which losses.
        weights: `(num_classes,)` float by class, or None.
    """

    weights: Tensor | None

    def __init__(self, net: Segmenter, recipe: TrainRecipe, weights: Tensor | None) -> None:
        super().__init__()
        self.net, self.recipe = net, recipe
        self.register_buffer("weights", weights, persistent=False)
        channels, classes = net.features().channels, len(label_set(recipe.classes))
        self.aux = nn.ModuleDict(
            {
                str(stride): nn.Sequential(*conv_bn(channels[stride], AUX_WIDTH, 3), nn.Conv2d(AUX_WIDTH, classes, 1))
                for stride in _known(recipe.loss.aux_strides, channels)
            }
        )
        self.adapters = nn.ModuleDict()
        self._teacher: list[Segmenter] = []  # In a list, so that it is neither trained nor saved.
        if recipe.distillation:
            self._learn_from(load_teacher(recipe.distillation, recipe.classes), recipe.distillation)

    def _learn_from(self, teacher: Segmenter, settings: Distillation) -> None:
        own, other = self.net.features().channels, teacher.features().channels
        self.adapters.update(
            {
                str(stride): nn.Conv2d(own[stride], other[stride], 1)
                for stride in _known(settings.feature_strides, {s: c for s, c in own.items() if s in other})
            }
        )
        fuse_normalization(teacher.requires_grad_(False))
        self._teacher = [teacher.to(torch.bfloat16) if self.recipe.precision == "bf16" else teacher]

    def to_device(self, device: torch.device) -> Objective:
        """Move everything, the teacher too, to `device`, channels last in memory."""
        for module in (self, *self._teacher):
            module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """The loss of `(N, 3, H, W)` normalized images and `(N, H, W)` int64 class ids, 255 where void."""
        settings = self.recipe.loss
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            maps = self.net.features()(images)
            low = self.net.decode(maps)
            logits = self.net.upsample(low, images)
            heads = [self.net.upsample(head(maps[int(stride)]), images) for stride, head in self.aux.items()]
        loss = label_loss(logits, target, self.weights, settings)
        plain = msgspec.structs.replace(settings, ohem=0.0, jaccard=0.0)
        for aux in heads:
            loss = loss + settings.aux * label_loss(aux, target, self.weights, plain)
        for teacher in self._teacher:
            loss = loss + self._divergence(teacher, images, maps, low)
        return loss

    def _divergence(self, teacher: Segmenter, images: Tensor, maps: dict[int, Tensor], low: Tensor) -> Tensor:
        settings = self.recipe.distillation
        assert settings is not None
        with torch.no_grad():
            height, width = (round(settings.scale * side) for side in images.shape[2:])
            closer = upsample(images, (height, width), "half_pixel")
            shown = teacher.features()(closer.to(next(teacher.parameters()).dtype))
            answer = teacher.decode(shown)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            adapted = {stride: adapt(maps[int(stride)]) for stride, adapt in self.adapters.items()}
        loss = settings.weight * logit_divergence(low, answer, settings.temperature)
        for stride, own in adapted.items():
            loss = loss + settings.features * channel_divergence(own, shown[int(stride)], settings.temperature)
        return loss

    def parameter_groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The backbone's parameters, and all others."""
        backbone = list(self.net.features().parameters())
        inside = {id(parameter) for parameter in backbone}
        return backbone, [parameter for parameter in self.parameters() if id(parameter) not in inside]


def _known(strides: tuple[int, ...], channels: dict[int, int]) -> tuple[int, ...]:
    """The strides, each of which the backbones must have.

    Raises:
        UsageError: One has no map there.
    """
    for stride in strides:
        if stride not in channels:
            raise UsageError(
                f"The recipe asks for a map of stride {stride}, which the backbone does not give.",
                hint=f"Possible: {', '.join(map(str, channels))}.",
            )
    return strides


def load_teacher(settings: Distillation, classes: str) -> Segmenter:
    """The network of another run, in eval mode, made by the recipe that its weights carry.

    Raises:
        ModelFileError: The file is missing, damaged, or was not written by `edgeseg train`.
        UsageError: It was trained on other classes.
    """
    path = Path(settings.teacher)
    if not path.is_file():
        raise ModelFileError(f"There is no teacher at {path}.", hint="Train it first; its recipe's name says which.")
    try:
        with safe_open(path, "pt") as file:
            recipe = msgspec.json.decode((file.metadata() or {})["training"], type=Training).recipe
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise ModelFileError(
            f"The teacher {path} carries no recipe: {reason}", hint="Pass a best.safetensors of edgeseg train."
        ) from error
    if label_set(recipe.classes).names != label_set(classes).names:
        raise UsageError(
            f"The teacher {path} knows other classes: {', '.join(label_set(recipe.classes).names)}.",
            hint="Train a teacher on these classes, or leave [distillation] out of the recipe.",
        )
    net = create_model(recipe.model, num_classes=len(label_set(classes)), **recipe.options)
    load_weights(net, path)
    return net
