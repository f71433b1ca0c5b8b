"""Sinks by their words on the command line, those above the stream among them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.cli.report import say
from edgeseg.data.uri import without_password
from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from edgeseg.card import Card
    from edgeseg.stream import Sink, Source

__all__ = ["default_sink", "open_sinks"]

#: Frames that the network is least sure of go here.
HARD_FRAMES = Path("hard-frames")
#: What shows one picture, and what is written by file.
SHOWN = ("display:", "web:", "rtsp:")
WRITTEN = (".mp4", ".png", ".jpg", ".jpeg")


def default_sink(source: Source) -> str:
    """A window where there is a display, else a file in the current folder that is named after the source."""
    from edgeseg.stream.sinks.window import has_display

    if source.total == 1:
        return f"{source.name}-overlay.png"
    return "display://0" if has_display() else f"{source.name if len(source.parts) == 1 else '%s'}-overlay.mp4"


def open_sinks(
    words: Sequence[str], source: Source, card: Card, *, still_at: int | None, limit: int | None, hard: int | None
) -> list[Sink]:
    """The sinks that words mean; where one can't be opened, those before it are closed again.

    Args:
        words: As they were typed.
        source: Open.
        card: Of the engine.
        still_at: Number of the frame of a still; None is the middle one.
        limit: Frames after which the stream ends.
        hard: So many frames of the lowest margin are kept; None is none.
    """
    from edgeseg.stream.sinks.hard import HardFrames

    if twice := next((word for word in words if words.count(word) > 1), None):
        raise UsageError(f"The sink {without_password(twice)} is named twice.")
    total = min((count for count in (limit, source.total) if count is not None), default=None)
    at = still_at if still_at is not None or total is None else total // 2
    with contextlib.ExitStack() as stack:
        sinks: list[Sink] = []
        for word in words:
            sinks.append(_open(word, source, card, at))
            stack.callback(sinks[-1].close)
        if hard is not None:
            sinks.append(HardFrames(HARD_FRAMES, hard, 0.0 if source.live else source.fps))
        stack.pop_all()
    return sinks


def _open(word: str, source: Source, card: Card, still: int | None) -> Sink:
    """One sink; of several sources one each by `%s`, or all in one picture."""
    from edgeseg.stream.sinks.several import Mosaic, PerSource

    names = [part.name for part in source.parts]
    if len(names) == 1:
        return _open_one(word, source, card, still)
    if "%s" in word:
        parts = {part.name: part for part in source.parts}
        return PerSource(word, lambda name: _open_one(word.replace("%s", name), parts[name], card, still))
    if word.lower().endswith(WRITTEN):
        raise UsageError(
            f"{word} is one file, and there are {len(names)} sources.",
            hint=f"Give %s for the name of each: {Path(word).stem}-%s{Path(word).suffix}",
        )
    sink = _open_one(word, source, card, still)
    return Mosaic(sink, names) if word.startswith(SHOWN) else sink


def _open_one(word: str, source: Source, card: Card, still: int | None) -> Sink:
    from edgeseg.labels import LabelSet
    from edgeseg.stream import open_sink

    if not word.startswith("web:"):
        return open_sink(word, source, LabelSet(card.classes, card.palette), still=still)
    from edgeseg.web import PageSink

    page = PageSink(word, card)
    say(f"Watch at {page.output}")
    return page
