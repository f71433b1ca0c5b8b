"""A comparison in words and tables, and as a folder with its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgeseg.bench.comparison import Comparison, DropFacts, Side
from edgeseg.bench.worst import precision_words
from edgeseg.errors import UsageError
from edgeseg.files import atomic_path

__all__ = [
    "Table",
    "agreement_sentence",
    "comparison_markdown",
    "headline",
    "make_folder",
    "speed_sentence",
    "tables",
    "write_comparison",
]

_COLOURS = {
    "labels": "Difference: orange where A is right and B is wrong, blue where B is right and A is wrong, yellow where "
    "both are wrong in different ways. Shares are of the labelled pixels; void is black in the label.",
    "a": "Difference: where B gives another class than A, in the colour of B's class. Which of them is right can't be "
    "told without labels.",
}
_NONE = {"labels": "No confusion grew from A to B.", "a": "B gives every pixel the class that A gives it."}


class Table(NamedTuple):
    """A table for people: shares in percent, IoUs and drops in points."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def headline(found: Comparison) -> str:
    """What it comes to, in one sentence."""
    frames = "1 frame" if found.frames == 1 else f"{found.frames} frames"
    if found.drop is None:
        return f"On {frames}, A and B give {_percent(found.agreement.share)} % of the pixels the same class."
    drop, ci95 = found.drop.drop, found.drop.drop_ci95
    way = "drops" if drop >= 0 else "rises"
    interval = f" (95 % of the drop: {_percent(ci95[0])} to {_percent(ci95[1])})" if ci95 is not None else ""
    return f"On {frames}, mIoU {way} by {_percent(abs(drop))} points from A to B{interval}."


def agreement_sentence(found: Comparison) -> str:
    """How far B answers as A does; without labels, whether a build would keep it."""
    facts = found.agreement
    worst = min(facts.class_iou.items(), key=lambda item: item[1], default=None)
    least = f", least IoU {worst[1]:.3f} ('{worst[0]}')" if worst else ""
    gate = (
        "" if facts.passes is None else f": {'enough' if facts.passes else 'too little'} for the gate of edgeseg build"
    )
    return (
        f"Agreement: {_percent(facts.share)} % of all pixels, {_percent(facts.confident_share)} % of the "
        f"{_percent(facts.confident_pixels)} % where A is confident{least}{gate}."
    )


def speed_sentence(found: Comparison) -> str:
    """Which is faster, and how much."""
    return f"B is {found.speed_ratio:.2f} times as fast as A."


def tables(found: Comparison) -> list[Table]:
    """What A and B are; with labels IoU by class; confusions that grew, if any did; the worst frames."""
    made = [_engines(found)]
    if found.drop is not None:
        made.append(_classes(found, found.drop))
    if found.confusions:
        made.append(_confusions(found))
    return [*made, _worst(found)]


def _engines(found: Comparison) -> Table:
    sides = (found.a, found.b)
    rows = [
        ("model", *(side.model for side in sides)),
        ("backend", *(side.backend for side in sides)),
        ("precision", *(precision_words(side.precision, side.dialect) for side in sides)),
        ("size", *("x".join(map(str, side.size_hw)) for side in sides)),
        ("upsample", *(side.upsample for side in sides)),
        ("MB", *(f"{side.size_bytes / 1e6:.1f}" for side in sides)),
        *((f"p{p} ms", *(_ms(side, p) for side in sides)) for p in found.a.speed.percentiles_ms),
        ("FPS", *(f"{side.speed.fps:.1f}" for side in sides)),
    ]
    if found.drop is not None:
        rows.append(("mIoU", *(_percent(side.miou) for side in sides)))
        rows.append(("% of pixels right", *(_percent(side.pixel_accuracy) for side in sides)))
    heads = ("", *(f"{letter}: {side.engine}" for letter, side in zip("AB", sides, strict=True)))
    return Table("A and B", heads, rows)


def _ms(side: Side, percentile: str) -> str:
    value = side.speed.percentiles_ms[percentile]
    return "n/a" if value is None else f"{value:.2f}"


def _classes(found: Comparison, facts: DropFacts) -> Table:
    drops = {**facts.class_drop, **facts.small_class_drop}
    rows = [
        (name, *map(_percent, (facts.class_share.get(name, 0.0), iou, found.b.class_iou[name], drops.get(name))))
        for name, iou in found.a.class_iou.items()
        if iou is not None or found.b.class_iou[name] is not None
    ]
    mean = ("mean", "", _percent(found.a.miou), _percent(found.b.miou), _percent(facts.drop))
    return Table("IoU by class", ("class", "% of pixels", "A", "B", "drop"), [*rows, mean])


def _confusions(found: Comparison) -> Table:
    pairs = [(one.expected, one.found) for one in found.confusions]
    shares = [(f"{100 * one.share_of_class:.3f}", f"{100 * one.share_of_all:.3f}") for one in found.confusions]
    counts = [(f"{one.pixels_a:,}", f"{one.pixels_b:,}") for one in found.confusions]
    if found.reference == "a":
        return Table(
            "Where B gives another class than A (agreement, not accuracy)",
            ("A's class", "B's class", "pixels", "% of A's class", "% of all pixels"),
            [(*pair, b, *share) for pair, (_, b), share in zip(pairs, counts, shares, strict=True)],
        )
    return Table(
        "Confusions that grew from A to B",
        ("label", "taken for", "pixels in A", "pixels in B", "growth, % of the class", "growth, % of all pixels"),
        [(*pair, *count, *share) for pair, count, share in zip(pairs, counts, shares, strict=True)],
    )


def _worst(found: Comparison) -> Table:
    figures = [(Path(one.name).name, one.figures) for one in found.worst]
    if found.reference == "a":
        equal = [(name, _percent(one.equal)) for name, one in figures]
        return Table("Frames that agree least", ("frame", "% of pixels equal"), equal)
    heads = ("frame", "% right in A", "% right in B", "% lost", "% gained", "% both wrong, not alike")
    rows = [
        (name, *(_percent(share) for share in (one.right_a, one.right_b, one.lost, one.gained, one.both_wrong)))
        for name, one in figures
    ]
    return Table("Frames with the largest loss", heads, rows)


def comparison_markdown(found: Comparison) -> str:
    """The whole report, with the strips beside it as images."""
    engines, *others, worst = tables(found)
    parts = [
        f"# {headline(found).rstrip('.')}",
        _markdown(engines),
        "\n".join(f"> Warning: {warning}" for warning in found.warnings),
        f"{speed_sentence(found)} {agreement_sentence(found)}",
        *(f"## {table.title}\n\n{_markdown(table)}" for table in others),
        "" if found.confusions else _NONE[found.reference],
        f"## {worst.title}\n\n{_markdown(worst)}",
        _COLOURS[found.reference],
        *(_picture(place, one.name, one.picture) for place, one in enumerate(found.worst, 1) if one.picture),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _picture(place: int, name: str, picture: str) -> str:
    return f"### {place}. `{name}`\n\n![The frame, what A and B answer, and where they differ]({picture})"


def _markdown(table: Table) -> str:
    """Numbers stand right, and no text of a cell can break the table."""
    columns = list(zip(*table.rows, strict=True))
    rules = [" ---: " if _is_number(column) else " --- " for column in columns] or [" --- " for _ in table.heads]
    lines = [_line(table.heads), f"|{'|'.join(rules)}|", *(_line(row) for row in table.rows)]
    return "\n".join(lines)


def _is_number(column: tuple[str, ...]) -> bool:
    return all(cell.strip("-").replace(".", "").replace(",", "").isdigit() or cell in ("", "-") for cell in column)


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def make_folder(folder: Path) -> None:
    """Make the folder of a report, before anything is measured for it.

    Raises:
        UsageError: It, or what should be a folder above it, is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{folder} can't be a folder: {error.strerror}.", hint="Name another one: -o DIR") from error


def write_comparison(found: Comparison, pictures: Mapping[str, bytes], folder: Path) -> Path:
    """Write `compare.json`, `compare.md` and the strips into a folder, whole, or leave all there as it was.

    All is on disk before the first file is replaced. Strips of an earlier comparison that this one does not replace
    are removed.

    Args:
        found: Names the pictures.
        pictures: PNG by file name.
        folder: Made if it is not there.

    Returns:
        The path of the JSON, which is replaced last.
    """
    files = {
        "compare.json": msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n",
        "compare.md": comparison_markdown(found).encode(),
        **pictures,
    }
    with ExitStack() as stack:
        for name, content in files.items():
            stack.enter_context(atomic_path(folder / name)).write_bytes(content)
    for path in folder.glob("worst-[0-9][0-9].png"):
        if path.name not in pictures:
            path.unlink()
    return folder / "compare.json"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
