"""Accuracy: confusion matrices, drops with their intervals, and agreement between two engines."""

from __future__ import annotations

from edgeseg.evaluate.agreement import Agreement, confidence_margin
from edgeseg.evaluate.confusion import ConfusionMatrix
from edgeseg.evaluate.drop import MiouDrop, miou_drop
from edgeseg.evaluate.labels_fit import labels_fit
from edgeseg.evaluate.sessions import (
    class_maps,
    confident_pixels,
    evaluate_answer,
    evaluate_frames,
    evaluate_session,
    measure_agreement,
)

__all__ = [
    "Agreement",
    "ConfusionMatrix",
    "MiouDrop",
    "class_maps",
    "confidence_margin",
    "confident_pixels",
    "evaluate_answer",
    "evaluate_frames",
    "evaluate_session",
    "labels_fit",
    "measure_agreement",
    "miou_drop",
]
