"""Training recipes: TOML files that say all that a run depends on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

__all__ = ["Augment", "Distillation", "Loss", "Optimizer", "TrainRecipe", "Training", "default_recipe"]

Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Side = Annotated[int, msgspec.Meta(ge=16, le=8192)]
Weight = Annotated[float, msgspec.Meta(ge=0)]

#: Ends of the names of models whose backbones have ImageNet weights in a package.
IMAGENET = ("-efficientnet-lite0", "-efficientnet-lite1", "-efficientnet-lite2")


class Augment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to a frame and its mask before training on it.

    Attributes:
        crop_hw: Height and width of the crop, pixels; smaller frames are padded with void.
        scale: Smallest and largest random scale.
        flip: Chance of a horizontal flip.
        brightness, contrast, saturation: Largest relative change, 0 for none.
        paste: Chance that objects of another frame are pasted in, as they stand there.
        paste_classes: Names of the classes whose objects are pasted.
    """

    crop_hw: tuple[Side, Side] = (288, 384)
    scale: tuple[Positive, Positive] = (0.6, 1.8)
    flip: Share = 0.5
    brightness: Share = 0.3
    contrast: Share = 0.3
    saturation: Share = 0.3
    paste: Share = 0.0
    paste_classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale is {list(self.scale)}, but the smallest comes first")
        if self.paste and not self.paste_classes:
            raise ValueError("paste is set, but paste_classes names no class")


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
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 1e-2
    power: Positive = 0.9
    warm_up: Share = 0.0
    ema: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0

    def factor(self, step: int, steps: int) -> float:
        """What both rates are multiplied by at `step`, 0 to `steps - 1`: above 0, at most 1."""
        rise = min(1.0, (step + 1) / (self.warm_up * steps + 1))
        return float(rise * (1 - step / steps) ** self.power)


class Loss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is minimized: the sum of these terms, each a mean over pixels or classes.

    Attributes:
        class_weight_offset: The cross-entropy's weights are `1 / ln(offset + frequency)` (ENet, Paszke et al., 2016);
            above 1, or 0 for none.
        ohem: Only pixels whose own class got a lower probability than this count, 0 for all (online hard example
            mining, Shrivastava et al., CVPR 2016), but always `ohem_share` of them.
        ohem_share: The hardest share of the labelled pixels that counts in any case.
        jaccard: Weight of the soft Jaccard loss (Rahman and Wang, ISVC 2016), which the mIoU follows.
        aux: Weight of the cross-entropy of auxiliary heads on the backbone's maps (PSPNet, Zhao et al., CVPR 2017).
        aux_strides: Strides of those maps. The heads are left out of the saved weights.
    """

    class_weight_offset: float = 1.10
    ohem: Share = 0.0
    ohem_share: Share = 0.0625
    jaccard: Weight = 0.0
    aux: Weight = 0.4
    aux_strides: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.class_weight_offset != 0 and not self.class_weight_offset > 1:
            raise ValueError(
                f"class_weight_offset is {self.class_weight_offset}, but only 0 and numbers above 1 make sense"
            )


class Distillation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Learning from a larger network (Hinton et al., 2015, arXiv 1503.02531), on void pixels too.

    Attributes:
        teacher: Path of the `best.safetensors` of another run with the same classes.
        weight: Of the Kullback-Leibler divergence from the teacher's class probabilities.
        temperature: That both networks' logits are divided by.
        scale: The teacher sees the images this many times as large, so that the student learns what it can't see
            itself (Qi et al., "Multi-Scale Aligned Distillation", CVPR 2021).
        features: Weight of the divergence between the channels' spatial distributions, on the maps of
            `feature_strides` (Shu et al., "Channel-wise Knowledge Distillation", ICCV 2021).
        feature_strides: Strides of the backbones' maps that are compared, through a 1x1 convolution.
    """

    teacher: str
    weight: Weight = 1.0
    temperature: Positive = 2.0
    scale: Positive = 1.0
    features: Weight = 1.0
    feature_strides: tuple[int, ...] = ()


class TrainRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training run.

    Attributes:
        model: A name of `create_model`.
        classes: As `--classes`: a known set, a number, or names with commas between.
        data: A known name, or a folder: with `train/` and `val/`, each of which holds `images/` and `masks/` or
            `labels/`; or with these two alone, of which the last tenth is kept for validation.
        imgsz: Height and width that frames and masks are brought to before all else; None takes them as they are.
        options: Options of the model.
        backbone_weights: `imagenet`; `inherited`, the strongest channels of EfficientNet-Lite0's ImageNet weights, for
            narrower networks of the same build (MobileNetV2 too); `none`; or the path of a checkpoint to start
            from, of the whole network or of the backbone alone.
        new_head: Whether a checkpoint whose decoder differs may be started from, as for another number of classes or
            with other options: layers that do not fit begin anew.
        batch: Frames per step; normalizing the pooled features takes two at least.
        precision: Arithmetic of the forward pass.
        quantization_aware: Quantization-aware training (QAT): the forward pass rounds to eight bits as INT8 engines do.
            For a last run that begins with a trained network. Validation and the saved weights are in float.
        hold_out: Share of the training frames to validate on instead of `val/`, for choices that `val/` then judges.
        keep: `best` saves the weights of the epoch with the highest mIoU, `last` those of the newest.
        validate_every: Epochs from one validation to the next; the last epoch is always validated.
        distillation: A teacher to learn from.
    """

    model: str
    classes: str = "camvid"
    data: str = "camvid"
    imgsz: tuple[Side, Side] | None = None
    options: dict[str, Any] = {}
    backbone_weights: str = "imagenet"
    new_head: bool = False
    epochs: Count = 36
    batch: Annotated[int, msgspec.Meta(ge=2)] = 8
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    quantization_aware: bool = False
    hold_out: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.0
    keep: Literal["best", "last"] = "best"
    validate_every: Count = 1
    augment: Augment = Augment()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    distillation: Distillation | None = None


class Training(msgspec.Struct, frozen=True):
    """What saved weights tell of the run that made them, as JSON under `training` in their metadata.

    Attributes:
        recipe: All that the result depends on, but for the files that it names.
        size_hw: Of the frames that they were validated on, pixels.
        made_from: Hashes of these files: `start` and `teacher`.
    """

    recipe: TrainRecipe
    size_hw: tuple[int, int]
    made_from: dict[str, str]


def default_recipe(model: str, **changes: Any) -> TrainRecipe:
    """The recipe of a model that has none of its own.

    It begins with the ImageNet weights of a package, where such fit, and upsamples by stride, so that crops and whole
    frames are seen alike, whatever their sizes.
    """
    weights = "imagenet" if model.endswith(IMAGENET) else "inherited" if model.endswith("-mobilenetv2") else "none"
    own = {"backbone_weights": weights, "options": {"upsampling": "by_stride"}}
    return TrainRecipe(model, **{**own, **changes})
