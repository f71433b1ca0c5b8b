"""The frames on which the second of two engines is worst, with their figures and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import cv2
import msgspec

from edgeseg.backends import Session
from edgeseg.bench.explain import FrameFigures, Frames, Sample, answered, frame_figures, samples
from edgeseg.card import Card, Dialect, Precision
from edgeseg.errors import EdgesegError
from edgeseg.evaluate import ConfusionMatrix
from edgeseg.labels import LabelSet

__all__ = ["OnPicture", "WorstFrame", "disagreement", "label_loss", "precision_words", "show_frames", "worst_first"]

#: Takes the file name and the PNG of a strip.
OnPicture = Callable[[str, bytes], None]


class WorstFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One of the worst frames.

    Attributes:
        name: Where it came from.
        index: Its place among the frames, counted from 0.
        picture: File name of its strip; None where none was drawn.
    """

    name: str
    index: int
    picture: str | None
    figures: FrameFigures


def label_loss(first: Sequence[ConfusionMatrix], second: Sequence[ConfusionMatrix]) -> list[float | None]:
    """By frame, the share of the labelled pixels that fewer are right; None where none is labelled."""
    return [_loss(one, other) for one, other in zip(first, second, strict=True)]


def _loss(first: ConfusionMatrix, second: ConfusionMatrix) -> float | None:
    labelled = max(int(first.counts.sum()), int(second.counts.sum()))
    return int(first.counts.trace() - second.counts.trace()) / labelled if labelled else None


def disagreement(first: Session, second: Session, frames: Iterable[Sample]) -> list[float | None]:
    """By frame, the share of the pixels with different classes; None where the engines see no pixel in common."""
    shares = (frame_figures(None, one.a, one.b).equal for one in answered(first, second, frames))
    return [None if share is None else 1 - share for share in shares]


def worst_first(loss: Sequence[float | None], most: int) -> list[int]:
    """Indices of the frames with the largest loss, the largest first, ties in the frames' order; None comes last."""
    values = [float("-inf") if one is None else one for one in loss]
    return sorted(range(len(values)), key=lambda index: -values[index])[:most]


def show_frames(
    first: Session, second: Session, frames: Frames, order: Sequence[int], on_picture: OnPicture | None
) -> tuple[WorstFrame, ...]:
    """Some of the frames with their figures, each read and answered once more.

    Args:
        first, second: Opened for class maps.
        frames: All of them.
        order: Indices of those that are wanted; the n-th is drawn as `worst-<n>.png`.
        on_picture: Given each strip, in the frames' order; None draws nothing.
    """
    from edgeseg.bench.strips import draw_strip  # Draws with Pillow, which timing does without.

    labels = LabelSet(first.card.classes, first.card.palette)
    engines = _described(first.card), _described(second.card)
    found = {}
    for index, one in zip(sorted(order), answered(first, second, samples(frames, order)), strict=True):
        figures, picture = frame_figures(one.label, one.a, one.b), None
        if on_picture is not None:
            picture = f"worst-{order.index(index) + 1:02d}.png"
            done, encoded = cv2.imencode(".png", draw_strip(one, figures, labels, engines))
            if not done:
                raise EdgesegError(f"OpenCV can't encode the strip of {one.name}.")
            on_picture(picture, encoded.tobytes())
        found[index] = WorstFrame(name=one.name, index=index, picture=picture, figures=figures)
    return tuple(found[index] for index in order)


def _described(card: Card) -> str:
    return f"{card.backend} {precision_words(card.precision, card.dialect)}"


def precision_words(precision: Precision, dialect: Dialect) -> str:
    """`fp32`, or `int8 u8-asym`."""
    return precision if dialect == "float" else f"{precision} {dialect}"
