"""What the figure of a front's accuracy is, for those who read its table or its picture."""

from __future__ import annotations

from edgeseg.bench.budget.report import Front

__all__ = ["accuracy_words"]

WORDS = {
    "labels": "mIoU on {frames} labelled frames of {source}, at their own resolution.",
    "agreement": "Agreement: share of all pixels with the class of {reference} in float32, on {frames} frames of "
    "{source}. It is no mIoU.",
    "shipped": "mIoU on {frames} frames of {source}, measured when the models were shipped; on other frames it is "
    "another.",
}


def accuracy_words(front: Front) -> str:
    """A sentence or two; also where a precision has the figure of another, because cards tell of float32 alone."""
    facts = front.accuracy
    size = "" if facts.reference_hw is None else " at {}x{}".format(*facts.reference_hw)
    told = WORDS[facts.kind].format(frames=facts.frames, source=facts.source, reference=f"{facts.reference}{size}")
    halves = sorted({one.precision for one in front.points} - {"fp32", "int8"}) if facts.kind == "shipped" else []
    return f"{told} {' and '.join(halves)} {'are' if len(halves) > 1 else 'is'} told as float32." if halves else told
