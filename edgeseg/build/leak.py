"""Frames that are calibrated on and evaluated on, which flatters an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edgeseg.data.calibration import NamedFrame, open_frames
from edgeseg.data.frame_watch import Finding, FrameWatch, Level, part
from edgeseg.data.images import frame_files, read_frame
from edgeseg.data.labelled import KNOWN, find_data_set
from edgeseg.data.likeness import Looks, look_at

__all__ = ["Leak", "LeakPair", "evaluation_frames", "find_leak", "leak_findings"]


class LeakPair(msgspec.Struct, frozen=True, kw_only=True):
    """A calibration frame, and the evaluation frame that is most like it; `copy` where every pixel is equal."""

    frame: str
    evaluation: str
    copy: bool


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """What two sets of frames have in common.

    Attributes:
        against: Source of the evaluation frames.
        evaluation_frames: How many they are.
        pairs: One for each calibration frame that is among them, in the order of the calibration frames.
    """

    against: str
    evaluation_frames: int
    pairs: tuple[LeakPair, ...]


def evaluation_frames(source: str) -> tuple[int, Iterator[NamedFrame]]:
    """How many frames `source` is evaluated on, and the frames, decoded one by one.

    Args:
        source: A folder with `images/`, or with `val/images/` and perhaps `test/images/`, or the name of a data set;
            else any source of frames with an end. Labels are not read, whatever classes they have.

    Raises:
        UsageError: There is no such source, or it holds no image.
    """
    known = source in KNOWN and not Path(source).exists()
    root = find_data_set(source) if known else Path(source)
    folders = [root] if (root / "images").is_dir() else [root / "val", root / "test"]
    paths = [path for folder in folders for path in frame_files(folder / "images")]
    if paths:
        return len(paths), (NamedFrame(str(path), read_frame(path)) for path in paths)
    frames = open_frames(source)
    return len(frames), iter(frames)


def find_leak(
    watch: FrameWatch, source: str, count: int, frames: Iterator[NamedFrame], on_frame: Callable[[int], None]
) -> Leak:
    """The frames of `watch` that are the same as an evaluation frame, or look like one; black ones do not count.

    Args:
        watch: Has seen all calibration frames.
        source: That of the evaluation frames, as it is to be shown.
        count: Of the evaluation frames.
        frames: The evaluation frames.
        on_frame: Told how many of them are done, after each.
    """
    looks = Looks()
    for look in watch.looks:
        looks.add(look)
    found: dict[int, tuple[float, LeakPair]] = {}
    for done, (name, frame) in enumerate(frames, 1):
        look = look_at(frame)
        for index, levels in () if look.fault else looks.like(look):
            copy = look.digest == watch.looks[index].digest
            away = -1.0 if copy else levels
            if index not in found or away < found[index][0]:
                found[index] = away, LeakPair(frame=watch.names[index], evaluation=name, copy=copy)
        on_frame(done)
    return Leak(against=source, evaluation_frames=count, pairs=tuple(found[index][1] for index in sorted(found)))


def leak_findings(leak: Leak, frames: int) -> tuple[Finding, ...]:
    """What to say of a leak into a calibration set of so many frames."""
    if not leak.pairs:
        return ()
    pair, copies = leak.pairs[0], sum(pair.copy for pair in leak.pairs)
    text = (
        f"{part(len(leak.pairs), frames)} also among the {leak.evaluation_frames} of {leak.against} "
        f"({copies} as exact copies), the first is {pair.frame} ({pair.evaluation}): calibrate on frames of other "
        f"drives, or the evaluation flatters the engine."
    )
    level: Level = "bad" if len(leak.pairs) > frames / 2 else "warning"
    return (Finding(kind="leak", level=level, text=text, frames=tuple(pair.frame for pair in leak.pairs)),)
