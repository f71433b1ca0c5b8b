"""Backbones: networks that turn an image into feature maps at several strides."""

from __future__ import annotations

from edgeseg.models.backbones.base import Backbone, OutputStride
from edgeseg.models.backbones.darknet19 import DarkNet19
from edgeseg.models.backbones.efficientnet_lite import EfficientNetLite, LiteVariant
from edgeseg.models.backbones.mobilenetv1 import MobileNetV1
from edgeseg.models.backbones.mobilenetv2 import MobileNetV2
from edgeseg.models.backbones.mobilenetv3 import MobileNetV3
from edgeseg.models.backbones.shufflenet import ShuffleNet
from edgeseg.models.backbones.shufflenetv2 import ShuffleNetV2

__all__ = [
    "Backbone",
    "DarkNet19",
    "EfficientNetLite",
    "LiteVariant",
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3",
    "OutputStride",
    "ShuffleNet",
    "ShuffleNetV2",
]
