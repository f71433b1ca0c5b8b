"""What is wrong with frames that are to be calibrated on, told while they stream past."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from edgeseg.data.calibration import NamedFrame
from edgeseg.data.likeness import Fault, Look, Looks, look_at
from edgeseg.errors import UsageError

__all__ = ["LEAST_DISTINCT", "Brightness", "Finding", "FrameWatch", "Level", "part", "refuse_blank"]

Level = Literal["warning", "bad"]

#: Below so many pictures the ranges are those of a few scenes.
LEAST_DISTINCT = 32
#: Share of frames that may resemble others before it is worth a word: cars do stop now and then.
DUPLICATES = 0.1
#: Levels between the 5th and 95th percentile of the frames' brightness; CamVid's drives by day and dusk span a hundred.
NARROW = 25.0
#: Mean luminance that street frames by night stay below; those of CamVid at dusk have 45 and more.
NIGHT = 45.0

_FAULTS: dict[Fault, tuple[str, str]] = {
    "black": ("nearly black", "leave such frames out, and see that the lens is open and the light on"),
    "overexposed": ("overexposed", "leave such frames out, or record them anew with a shorter exposure"),
    "flat": ("flat, without any contrast", "leave such frames out, and see that nothing covers the lens"),
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong with a set of frames.

    Attributes:
        kind: One word, the same for all findings of a kind.
        level: `bad` where calibrating on the frames makes no sense.
        text: One sentence, with what to do about it.
        frames: Names of the frames that it is about; none where it is about all.
    """

    kind: str
    level: Level
    text: str
    frames: tuple[str, ...] = ()


class Brightness(msgspec.Struct, frozen=True, kw_only=True):
    """How the mean luminance of frames is spread, from 0 to 255."""

    minimum: float
    p5: float
    median: float
    p95: float
    maximum: float


def part(count: int, whole: int) -> str:
    """`1 of 40 frames is` or `2 of 40 frames are`."""
    return f"{count} of {whole} frames {'is' if count == 1 else 'are'}"


class FrameWatch:
    """Looks at frames one by one; a good kilobyte is kept of each.

    Example:
        >>> watch = FrameWatch()
        >>> ranges = measure_ranges(prepared, pixels_of(frames.watched(watch.add), card), ...)
        >>> watch.warnings()
        ('Only 3 distinct pictures are among the 100 frames: ...',)

    Attributes:
        names: Of the frames.
        looks: Of the frames.
        first_like: For each frame the index of the first one that shows the same picture, which may be itself.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.looks: list[Look] = []
        self.first_like: list[int] = []
        self._pictures = Looks()
        self._firsts: list[int] = []

    def __len__(self) -> int:
        return len(self.looks)

    def add(self, named: NamedFrame) -> None:
        """Look at the next frame."""
        look = look_at(named.frame)
        same = self._pictures.like(look)
        if not same:
            self._pictures.add(look)
            self._firsts.append(len(self.looks))
        self.first_like.append(self._firsts[same[0].number if same else -1])
        self.names.append(named.name)
        self.looks.append(look)

    @property
    def distinct(self) -> tuple[int, ...]:
        """Indices of the first frame of each picture that shows something."""
        return tuple(first for first in self._firsts if not self.looks[first].fault)

    @property
    def duplicates(self) -> tuple[int, ...]:
        """Indices of the frames that show something, but look like an earlier one."""
        return tuple(i for i, look in enumerate(self.looks) if not look.fault and self.first_like[i] != i)

    @property
    def copies(self) -> tuple[int, ...]:
        """Indices of those duplicates that equal an earlier frame in every pixel."""
        first = {look.digest: index for index, look in reversed(list(enumerate(self.looks)))}
        return tuple(index for index in self.duplicates if first[self.looks[index].digest] != index)

    def faulty(self, fault: Fault) -> tuple[int, ...]:
        """Indices of the frames with one fault."""
        return tuple(i for i, look in enumerate(self.looks) if look.fault == fault)

    def brightness(self) -> Brightness:
        """The spread of the frames' brightness; there has to be a frame."""
        values = np.percentile([look.brightness for look in self.looks], [0, 5, 50, 95, 100])
        minimum, p5, median, p95, maximum = map(float, values)
        return Brightness(minimum=minimum, p5=p5, median=median, p95=p95, maximum=maximum)

    def warnings(self) -> tuple[str, ...]:
        """Sentences on what is plainly wrong: frames that show nothing, one picture over and over, few pictures."""
        return tuple(finding.text for finding in (*self._faults(), *self._pictures_found()))

    def findings(self) -> tuple[Finding, ...]:
        """All that is wrong: what `warnings` tells, and many duplicates, and light that is always the same."""
        return (*self._faults(), *self._pictures_found(), *self._duplicates(), *self._narrow())

    def _faults(self) -> list[Finding]:
        found = [(fault, self.faulty(fault)) for fault in _FAULTS]
        most = sum(len(places) for _, places in found) > len(self) / 2
        level: Level = "bad" if most else "warning"
        return [
            Finding(
                kind=fault,
                level=level,
                text=f"{part(len(places), len(self))} {_FAULTS[fault][0]}, the first is {self.names[places[0]]}: "
                f"{_FAULTS[fault][1]}.",
                frames=self._named(places),
            )
            for fault, places in found
            if places
        ]

    def _pictures_found(self) -> list[Finding]:
        distinct, frames = len(self.distinct), len(self)
        if not 1 <= distinct < LEAST_DISTINCT:
            return []
        advice = "calibrate on a hundred frames of different places and times"
        if distinct == 1:
            what = "There is only one frame" if frames == 1 else f"All {frames} frames show the same picture or nothing"
            return [Finding(kind="same", level="bad", text=f"{what}: {advice}.")]
        what = (
            f"There are only {frames} frames"
            if distinct == frames
            else f"Only {distinct} distinct pictures are among the {frames} frames"
        )
        return [Finding(kind="few", level="warning", text=f"{what}: {advice}, and {LEAST_DISTINCT} at least.")]

    def _duplicates(self) -> list[Finding]:
        places = self.duplicates
        if len(self.distinct) < 2 or len(places) <= DUPLICATES * len(self):
            return []
        text = (
            f"{len(places)} of {len(self)} frames look like an earlier one and add nothing new: take frames that lie "
            "farther apart, or let --select choose."
        )
        return [Finding(kind="duplicate", level="warning", text=text, frames=self._named(places))]

    def _narrow(self) -> list[Finding]:
        shown = [look.brightness for look in self.looks if not look.fault]
        if len(self.distinct) < 2:
            return []
        low, high = np.percentile(shown, [5, 95])
        if high < NIGHT:
            what, other = "All frames are dark", "by day"
        elif high - low < NARROW:
            what, other = "All frames are about equally bright", "in other light"
        else:
            return []
        text = f"{what} (mean {low:.0f} to {high:.0f} of 255): if the camera also runs {other}, add frames of that."
        return [Finding(kind="narrow", level="warning", text=text)]

    def _named(self, places: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(self.names[place] for place in places)


def refuse_blank(watch: FrameWatch, source: str) -> None:
    """Refuse frames of which none shows anything.

    Raises:
        UsageError: They are all black, overexposed or without contrast.
    """
    if not watch.distinct:
        raise UsageError(
            f"None of the {len(watch)} frames of {source} shows anything.", hint=" ".join(watch.warnings())
        )
