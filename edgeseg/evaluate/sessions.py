"""The answers of a session to camera frames, and how right they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, tee
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgeseg.backends import Session
from edgeseg.card import Card
from edgeseg.data.resize import frame_for_card, restore_class_map, shown_window
from edgeseg.errors import UsageError
from edgeseg.evaluate.agreement import CONFIDENT, Agreement, confidence_margin
from edgeseg.evaluate.confusion import ConfusionMatrix
from edgeseg.labels import VOID

__all__ = [
    "answers",
    "class_maps",
    "confident_pixels",
    "evaluate_answer",
    "evaluate_frames",
    "evaluate_session",
    "measure_agreement",
]

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
        UsageError: A label is no class of the session's card.
    """
    for (_, label), answer in answers(session, frames, lambda pair: pair[0]):
        yield evaluate_answer(answer, label, session.card)


def evaluate_answer(class_map: UInt8, label: UInt8, card: Card) -> ConfusionMatrix:
    """The confusion matrix of one class map, at the label's resolution.

    Args:
        class_map: `(h, w)` uint8, at the network's size.
        label: `(H, W)` uint8, 255 where void.
        card: Of the engine that gave it.

    Raises:
        UsageError: A label is no class of the card.
    """
    restored = restore_class_map(class_map, (label.shape[0], label.shape[1]), card.preprocess.resize)
    matrix = ConfusionMatrix.empty(card.num_classes)
    matrix.update(restored, np.where(restored == VOID, np.uint8(VOID), label))
    return matrix


def measure_agreement(reference: Session, logits: Session, other: Session, frames: Iterable[UInt8]) -> Agreement:
    """How far `other` answers as `reference` does, on frames without labels, at the frames' resolution.

    The engines may differ in size and in how they resize; pixels that one of them never saw are left out.

    Args:
        reference: The float engine, opened for class maps.
        logits: The same engine, opened for logits, which tell where it is confident.
        other: The engine in question, of the same classes, opened for class maps.
        frames: `(H, W, 3)` uint8 BGR.

    Raises:
        UsageError: The engines have other classes.
    """
    if reference.card.classes != other.card.classes:
        raise UsageError(
            f"The classes differ: {', '.join(reference.card.classes)} and {', '.join(other.card.classes)}.",
            hint="Compare engines of the same classes.",
        )
    agreement = Agreement.empty(reference.card.num_classes)
    first, second, third = tee(frames, 3)
    answers = zip(
        _restored(reference, first), _restored(other, second), _restored_confidence(logits, third), strict=True
    )
    for expected, found, confident in answers:
        seen = (expected != VOID) & (found != VOID)
        agreement.update(expected[seen], found[seen], confident[seen])
    return agreement


def _restored(session: Session, frames: Iterable[UInt8]) -> Iterator[UInt8]:
    """The class map of each frame at the frame's size, 255 where the network never saw it."""
    resize = session.card.preprocess.resize
    for frame, answer in answers(session, frames, lambda frame: frame):
        yield restore_class_map(answer, (frame.shape[0], frame.shape[1]), resize)


def _restored_confidence(session: Session, frames: Iterable[UInt8]) -> Iterator[npt.NDArray[np.bool_]]:
    resize = session.card.preprocess.resize
    for frame, margin in _margins(session, frames):
        confident = (margin >= CONFIDENT).astype(np.uint8)
        yield restore_class_map(confident, (frame.shape[0], frame.shape[1]), resize) == 1


def class_maps(session: Session, frames: Iterable[UInt8]) -> Iterator[UInt8]:
    """The class map of each frame at the network's size, without what only pads a letterboxed frame.

    Args:
        session: Opened for class maps.
        frames: `(H, W, 3)` uint8 BGR.

    Yields:
        `(h, w)` uint8, safe to keep.
    """
    resize = session.card.preprocess.resize
    for frame, answer in answers(session, frames, lambda frame: frame):
        window = shown_window((frame.shape[0], frame.shape[1]), (answer.shape[0], answer.shape[1]), resize)
        yield window.of(answer)


def confident_pixels(session: Session, frames: Iterable[UInt8]) -> Iterator[npt.NDArray[np.bool_]]:
    """Where a network is confident in its class, `(h, w)` for each frame, cut as by `class_maps`.

    Args:
        session: Opened for logits.
        frames: `(H, W, 3)` uint8 BGR.
    """
    resize = session.card.preprocess.resize
    for frame, margin in _margins(session, frames):
        window = shown_window((frame.shape[0], frame.shape[1]), (margin.shape[0], margin.shape[1]), resize)
        yield window.of(margin) >= CONFIDENT


def _margins(session: Session, frames: Iterable[UInt8]) -> Iterator[tuple[UInt8, npt.NDArray[np.float32]]]:
    """Each frame with its confidence margin at the network's size."""
    card = session.card
    size_hw = (session.input_buffer().shape[1], session.input_buffer().shape[2])
    for frame, logits in answers(session, frames, lambda frame: frame):
        yield (
            frame,
            confidence_margin(
                logits, size_hw, card.upsampling, threshold=card.threshold, probabilities=card.probabilities
            ),
        )


def answers(session: Session, items: Iterable[T], frame_of: Callable[[T], UInt8]) -> Iterator[tuple[T, Any]]:
    """Each item with the answer to its frame: `(h, w)` class map or `(C, h, w)` logits."""
    source = iter(items)
    while group := list(islice(source, len(session.input_buffer()))):
        for slot, item in zip(session.input_buffer(), group, strict=False):
            frame_for_card(frame_of(item), session.card.preprocess, slot)
        yield from zip(group, session.submit().result().copy(), strict=False)
