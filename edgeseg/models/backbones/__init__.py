"""Backbones: networks that turn an image into feature maps at several strides."""

from __future__ import annotations

from edgeseg.models.backbones.base import Backbone
from edgeseg.models.backbones.efficientnet_lite import EfficientNetLite
from edgeseg.models.backbones.mobilenetv2 import MobileNetV2

__all__ = ["Backbone", "EfficientNetLite", "MobileNetV2"]
