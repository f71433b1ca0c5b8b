"""Backbones: networks that turn an image into feature maps at several strides."""

from __future__ import annotations

from edgeseg.models.backbones.base import Backbone, OutputStride
from edgeseg.models.backbones.efficientnet_lite import EfficientNetLite, LiteVariant
from edgeseg.models.backbones.mobilenetv2 import MobileNetV2

__all__ = ["Backbone", "EfficientNetLite", "LiteVariant", "MobileNetV2", "OutputStride"]
