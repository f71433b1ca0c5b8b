"""Decoders: what turns a backbone's feature maps into logits."""

from __future__ import annotations

from edgeseg.models.decoders.base import Segmenter
from edgeseg.models.decoders.deeplabv3plus import DeepLabV3Plus
from edgeseg.models.decoders.fcn import FCN
from edgeseg.models.decoders.liteseg import LiteSeg
from edgeseg.models.decoders.lraspp import LRASPP
from edgeseg.models.decoders.ppliteseg import PPLiteSeg
from edgeseg.models.decoders.unet import UNet

__all__ = ["FCN", "LRASPP", "DeepLabV3Plus", "LiteSeg", "PPLiteSeg", "Segmenter", "UNet"]
