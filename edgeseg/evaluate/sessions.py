"""The answers of a session to camera frames, and how right they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, tee
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgeseg.backends import Session
from edgeseg.data.resize import frame_for_card, restore_class_map, shown_window
from edgeseg.evaluate.agreement import CONFIDENT, Agreement, confidence_margin
from edgeseg.evaluate.confusion import ConfusionMatrix
from edgeseg.labels import VOID

__all__ = ["class_maps", "confident_pixels", "evaluate_frames", "evaluate_session", "measure_agreement"]

T = TypeVar("T")

UInt8 = npt.NDArray[np.uint8]


def evaluate_session(session: Session, frames: Iterable[tuple[UInt8, UInt8]]) -> ConfusionMatrix:
    """The confusion matrix of a session over labelled frames; as `evaluate_frames`, summed."""
    return sum(evaluate_frames(session, frames), ConfusionMatrix.empty(session.card.num_classes))


def evaluate_frames(session: Session, frames: Iterable[tuple[UInt8, UInt8]]) -> Iterator[ConfusionMatrix]:
    """One confusion matrix per frame, at the label's resolution.

    Pixels that the network never saw, since its card cuts frames, are left out as void ones are.

    Args:
        session: Opened for class maps.
        frames: Frame `(H, W, 3)` uint8 BGR and label `(H, W)` uint8, 255 where void.

    Raises:
        UsageError: Frame and label differ in size, or a label is no class of the session's card.
    """
    resize = session.card.preprocess.resize
    for (_, label), answer in _answers(session, frames, lambda pair: pair[0]):
        restored = restore_class_map(answer, (label.shape[0], label.shape[1]), resize)
        matrix = ConfusionMatrix.empty(session.card.num_classes)
        matrix.update(restored, np.where(restored == VOID, np.uint8(VOID), label))
        yield matrix


def measure_agreement(reference: Session, logits: Session, other: Session, frames: Iterable[UInt8]) -> Agreement:
    """How far `other` answers as `reference` does, on frames without labels.

    Args:
        reference: The float engine, opened for class maps.
        logits: The same engine, opened for logits, which tell where it is confident.
        other: The engine in question, of the same input size, opened for class maps.
        frames: `(H, W, 3)` uint8 BGR.

    Raises:
        UsageError: The engines differ in size or classes.
    """
    agreement = Agreement.empty(reference.card.num_classes)
    first, second, third = tee(frames, 3)
    answers = zip(class_maps(reference, first), class_maps(other, second), confident_pixels(logits, third), strict=True)
    for expected, found, confident in answers:
        agreement.update(expected, found, confident)
    return agreement


def class_maps(session: Session, frames: Iterable[UInt8]) -> Iterator[UInt8]:
    """The class map of each frame at the network's size, without what only pads a letterboxed frame.

    Args:
        session: Opened for class maps.
        frames: `(H, W, 3)` uint8 BGR.

    Yields:
        `(h, w)` uint8, safe to keep.
    """
    resize = session.card.preprocess.resize
    for frame, answer in _answers(session, frames, lambda frame: frame):
        window = shown_window((frame.shape[0], frame.shape[1]), (answer.shape[0], answer.shape[1]), resize)
        yield window.of(answer)


def confident_pixels(session: Session, frames: Iterable[UInt8]) -> Iterator[npt.NDArray[np.bool_]]:
    """Where a network is confident in its class, `(h, w)` for each frame, cut as by `class_maps`.

    Args:
        session: Opened for logits.
        frames: `(H, W, 3)` uint8 BGR.
    """
    card = session.card
    size_hw = (session.input_buffer().shape[1], session.input_buffer().shape[2])
    for frame, logits in _answers(session, frames, lambda frame: frame):
        margin = confidence_margin(logits, size_hw, card.upsampling, threshold=card.threshold)
        window = shown_window((frame.shape[0], frame.shape[1]), size_hw, card.preprocess.resize)
        yield window.of(margin) >= CONFIDENT


def _answers(session: Session, items: Iterable[T], frame_of: Callable[[T], UInt8]) -> Iterator[tuple[T, Any]]:
    """Each item with the answer to its frame: `(h, w)` class map or `(C, h, w)` logits."""
    source = iter(items)
    while group := list(islice(source, len(session.input_buffer()))):
        for slot, item in zip(session.input_buffer(), group, strict=False):
            frame_for_card(frame_of(item), session.card.preprocess, slot)
        yield from zip(group, session.submit().result().copy(), strict=False)
