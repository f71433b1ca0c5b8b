"""Decoders: what turns a backbone's feature maps into logits."""

from __future__ import annotations

from edgeseg.models.decoders.base import Segmenter
from edgeseg.models.decoders.liteseg import LiteSeg

__all__ = ["LiteSeg", "Segmenter"]
