"""What edgeseg is to reach beside its peers, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.peers.record import PeerRecord, PeersRecord

__all__ = ["Goal", "goals", "ratio_words"]

#: Least FPS to those of an entry, where there is a goal.
LEAST_RATIO = {
    "model_api/stock": 1.3,
    "model_api/tuned": 1.0,
    "model_api/class-map": 1.0,
    "onnxruntime/plain": 2.5,
    "pytorch/eager": 9.0,
}
#: Entries to whose mIoU there is a goal, and by how much it may be higher, as a fraction.
SAME_MIOU, LEAST_MIOU = ("model_api/stock", "model_api/tuned", "model_api/class-map"), 0.003
#: Largest share of the latency outside of the engine.
MOST_OUTSIDE = 0.1


@dataclass(frozen=True)
class Goal:
    """What was asked for, and what was found.

    Attributes:
        against: Name of the entry, empty where it is edgeseg's alone.
        met: None where it was not measured.
        least: The ratio that was asked for.
    """

    words: str
    found: str
    met: bool | None
    against: str = ""
    least: float | None = None


def goals(record: PeersRecord) -> Iterator[Goal]:
    """Each goal, met or not."""
    own = record.entry(record.reference)
    for name, least in LEAST_RATIO.items():
        entry = record.entry(name)
        if entry is None:
            continue
        ratio = entry.ratio
        yield Goal(
            f"at least {least:g} times the FPS of {entry.title}",
            ratio_words(entry) or "not measured",
            None if ratio is None else ratio.median >= least,
            name,
            least,
        )
    for name in SAME_MIOU:
        entry = record.entry(name)
        if entry is None:
            continue
        lower = None if own is None or own.miou is None or entry.miou is None else entry.miou - own.miou
        yield Goal(
            f"mIoU at most {100 * LEAST_MIOU:g} points below {entry.title}",
            "not measured" if lower is None else f"{-100 * lower:+.2f} points",
            None if lower is None else lower <= LEAST_MIOU,
            name,
        )
    share = record.outside_share
    yield Goal(
        f"less than {MOST_OUTSIDE:.0%} of the time from frame to class map outside the engine",
        "not measured" if share is None else f"{share:.1%}",
        None if share is None else share < MOST_OUTSIDE,
    )


def ratio_words(entry: PeerRecord) -> str:
    """FPS of the reference to those of an entry, with their interval; empty where not measured."""
    if entry.ratio is None:
        return ""
    interval = entry.ratio.interval
    return f"{entry.ratio.median:.2f}" + ("" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})")
