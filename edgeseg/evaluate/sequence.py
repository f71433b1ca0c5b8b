"""Class maps of consecutive frames: how right they are, how much they flicker, and what smoothing does to both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgeseg.backends import Session
from edgeseg.card import Card
from edgeseg.data.resize import restore_class_map
from edgeseg.evaluate.confusion import ConfusionMatrix
from edgeseg.evaluate.flicker import Flicker
from edgeseg.evaluate.sessions import answers, evaluate_answer

__all__ = ["SequenceScore", "Treatment", "evaluate_sequence"]

UInt8 = npt.NDArray[np.uint8]
#: Takes a class map `(h, w)` at the network's size, which it may change, and its frame; gives what is to be scored.
Treatment = Callable[[UInt8, UInt8], UInt8]


@dataclass
class SequenceScore:
    """The score of the class maps of one engine after one treatment, at the labels' resolution."""

    card: Card
    treat: Treatment = lambda class_map, frame: class_map
    matrix: ConfusionMatrix = field(init=False)
    flicker: Flicker = field(default_factory=Flicker, init=False)

    def __post_init__(self) -> None:
        self.matrix = ConfusionMatrix.empty(self.card.num_classes)

    def update(self, class_map: UInt8, frame: UInt8, label: UInt8) -> None:
        """Add the next frame.

        Args:
            class_map: `(h, w)` uint8 at the network's size.
            frame: `(H, W, 3)` uint8 BGR.
            label: `(H, W)` uint8, 255 where void.

        Raises:
            UsageError: A label is no class of the card.
        """
        treated = self.treat(class_map.copy(), frame)
        self.matrix += evaluate_answer(treated, label, self.card)
        self.flicker.update(restore_class_map(treated, (label.shape[0], label.shape[1]), self.card.preprocess.resize))


def evaluate_sequence(
    session: Session, frames: Iterable[tuple[UInt8, UInt8]], scores: Sequence[SequenceScore]
) -> Iterator[UInt8]:
    """Infer each frame once and add it to every score.

    Args:
        session: Opened for class maps.
        frames: Frame `(H, W, 3)` uint8 BGR and label `(H, W)` uint8, 255 where void; in the order of time.
        scores: Of the session's card.

    Yields:
        The label of each frame, once it is scored.

    Raises:
        UsageError: A label is no class of the session's card.
    """
    for (frame, label), class_map in answers(session, frames, lambda pair: pair[0]):
        for score in scores:
            score.update(class_map, frame, label)
        yield label
