"""Training recipes: TOML files that say all that a run depends on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

__all__ = ["Augment", "Optimizer", "TrainRecipe"]

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Augment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to a frame and its mask before training on it.

    Attributes:
        crop_hw: Height and width of the crop, pixels; smaller frames are padded with void.
        scale: Smallest and largest random scale.
        flip: Chance of a horizontal flip.
        brightness, contrast, saturation: Largest relative change, 0 for none.
    """

    crop_hw: tuple[Count, Count] = (288, 384)
    scale: tuple[Positive, Positive] = (0.6, 1.8)
    flip: float = 0.5
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3


class Optimizer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AdamW with a polynomial schedule: the rate falls as `(1 - step / steps) ** power`.

    Attributes:
        backbone_rate: Learning rate of the backbone.
        rate: Learning rate of the rest.
        warm_up: Share of the steps over which both rise linearly from zero.
        ema: Decay of the moving average of the weights that is evaluated and saved; 0 for none.
    """

    backbone_rate: Positive = 5e-4
    rate: Positive = 3e-3
    weight_decay: float = 1e-2
    power: Positive = 0.9
    warm_up: float = 0.0
    ema: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0


class TrainRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training run.

    Attributes:
        model: A name of `create_model`.
        options: Its options.
        classes: As `--classes`: a known set, a number, or names with commas between.
        data: A folder with `train/` and `val/`, each with `images/` and `masks/` or `labels/`, or a known name.
        backbone_weights: `imagenet`, `none`, or the path of a checkpoint of the whole network to start from.
        class_weight_offset: Loss weights are `1 / ln(offset + frequency)` (ENet, Paszke et al., 2016); 0 for none.
        precision: Arithmetic of the forward pass.
    """

    model: str
    classes: str = "camvid"
    data: str = "camvid"
    options: dict[str, Any] = {}
    backbone_weights: str = "imagenet"
    epochs: Count = 36
    batch: Count = 8
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    class_weight_offset: float = 1.10
    augment: Augment = Augment()
    optimizer: Optimizer = Optimizer()
