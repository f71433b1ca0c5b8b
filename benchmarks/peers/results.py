"""`benchmarks/RESULTS.md`, written from a record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.peers.goals import Goal, goals, ratio_words
from benchmarks.peers.record import PeerRecord, PeersRecord, read_record
from edgeseg.bench.roofline.structs import Roofline
from edgeseg.bench.roofline.words import HEADS, held_back_rows, sentences

__all__ = ["RECORDS", "RESULTS", "losses", "markdown", "written_again"]

RECORDS = Path(__file__).resolve().parents[1] / "records"
RESULTS = RECORDS.with_name("RESULTS.md")
SOURCE = re.compile(r"<!-- record: (\S+) -->")
#: What picks the best class at the size at which the others do.
FULL_SIZE = "edgeseg/int8-full"


def losses(record: PeersRecord) -> Iterator[tuple[PeerRecord | None, str]]:
    """Whom edgeseg loses to, and in what: a goal that is missed, speed, or mIoU."""
    own = record.entry(record.reference)
    for goal in goals(record):
        if goal.met is False:
            words = f"A goal is missed: {goal.words}; found {goal.found}.{_why(record, goal)}"
            yield record.entry(goal.against), words
    for entry in record.entries:
        if own is None or entry.name.partition("/")[0] == own.name.partition("/")[0]:
            continue
        if entry.ratio is not None and entry.ratio.median < 1:
            yield entry, f"{entry.title} is faster: edgeseg has {ratio_words(entry)} of its FPS."
        if entry.miou is not None and own.miou is not None and entry.miou > own.miou:
            yield entry, f"{entry.title} is more accurate by {100 * (entry.miou - own.miou):.2f} points of mIoU."
    yield from _full_size(record)


def _full_size(record: PeersRecord) -> Iterator[tuple[PeerRecord | None, str]]:
    """Whom edgeseg loses to where it picks the best class at full size too, by either percentile."""
    own = record.entry(FULL_SIZE)
    for entry in record.entries:
        if own is None or own.latency is None or entry.latency is None or entry.name.startswith("edgeseg/"):
            continue
        for name in ("50", "90"):
            mine, other = own.latency.percentiles_ms[name], entry.latency.percentiles_ms[name]
            if mine is not None and other is not None and other < mine:
                yield entry, f"{entry.title} is faster than {own.title} at p{name}: {other:.1f} against {mine:.1f} ms."


def _why(record: PeersRecord, goal: Goal) -> str:
    """What a frame would have to take for a missed goal, and what it takes at least; empty where that is not known."""
    own, entry = record.entry(record.reference), record.entry(goal.against)
    if own is None or entry is None or record.roofline is None or goal.least is None or not (own.fps and entry.fps):
        return ""
    return (
        f" A frame would have to take {1e3 / entry.fps / goal.least:.2f} ms. It takes {1e3 / own.fps:.2f}, "
        f"{record.roofline.inference_ms:.2f} of them in the engine, whose layers would take "
        f"{record.roofline.bound_ms:.2f} ms at this machine's ceilings."
    )


def markdown(record: PeersRecord, folder: Path) -> str:
    """The whole page.

    Args:
        record: Of a comparison.
        folder: Where it lies, from which the page can be written again.
    """
    own = record.entry(record.reference)
    device = record.environment.device
    lines = [
        "# edgeseg and what others would use",
        "",
        f"<!-- record: {folder.name} -->",
        "",
        _introduction(record),
        "",
        *(f"**{flag}**\n" for flag in _headlines(record)),
        *_table(
            ["system", "FPS", "latency p50, ms", "p90, ms", "edgeseg's FPS to it", "mIoU", "edgeseg's mIoU, points"],
            [_row(entry, own) for entry in record.entries],
        ),
        "",
        "## Goals",
        "",
        *_table(
            ["goal", "found", "met"],
            [[goal.words, goal.found, {True: "yes", False: "**no**", None: ""}[goal.met]] for goal in goals(record)],
        ),
        "",
        "## Where edgeseg loses",
        "",
        *_losses(record),
        "",
        "## Where the time goes",
        "",
        "Medians by stage, ms. `call` is what lies between the stages that a library times itself."
        + (" Multiply-adds a second are those of its inference." if record.roofline else ""),
        "",
        *_stages(record.entries, record.roofline),
        "",
        *_held_back(record.roofline),
        "## Settings",
        "",
        "The documentation of each says what is best; `benchmarks/peers` has the code.",
        "",
        *(line for entry in record.entries for line in _settings(entry)),
        "## Measured again by",
        "",
        "```text",
        f"{record.command} -o benchmarks/records/{folder.name}",
        "```",
        "",
        f"{device.cpu}, {device.cores} cores, kernel {device.kernel}, Python {device.python}. "
        f"Every sample: `benchmarks/records/{folder.name}/{record.samples}`.",
        "",
    ]
    return "\n".join(lines)


def _introduction(record: PeersRecord) -> str:
    """What was measured, and how."""
    (height, width), device = record.size_hw, record.environment.device
    return (
        f"`{record.model}` on {record.frames} labelled frames of {width}x{height}, from a frame in memory to its class "
        "map of that size: each system in a process and an environment of its own, on the same "
        f"{len(record.settings.cores)} cores of {device.cpu}, in turns within one run of {record.created[:10]} "
        f"({record.settings.rounds} rounds, {record.settings.turn_s:g} s a turn). FPS is one over the median latency. "
        "The ratio is that of edgeseg's default INT8 engine to each system, the median over the rounds with its 95 % "
        f"interval. The peers' quantizers were given the same {record.calibration_frames} frames of the train split; "
        "edgeseg has ranges of a hundred of its frames and a recipe for INT8, both shipped with it, which passed "
        "by its drop of mIoU on these labelled frames; what is built here is judged on rendered frames alone."
    )


def written_again(text: str) -> str:
    """The page made anew from the record that it names."""
    match = SOURCE.search(text)
    if match is None:
        raise ValueError("The page names no record.")
    folder = RECORDS / match[1]
    return markdown(read_record(folder / "peers.json"), folder)


def _headlines(record: PeersRecord) -> list[str]:
    """What makes the figures doubtful."""
    stopped = [] if record.complete else ["It was stopped before its time; these are the samples until then."]
    return [*stopped, *record.environment.flags]


def _row(entry: PeerRecord, own: PeerRecord | None) -> list[str]:
    if entry.latency is None:
        return [entry.title, f"not measured: {_sentence(entry.failed)}", "", "", "", _points(entry.miou), ""]
    p50, p90 = (entry.latency.percentiles_ms[name] for name in ("50", "90"))
    differs = own is not None and own is not entry and own.miou is not None and entry.miou is not None
    gap = f"{100 * ((own.miou or 0) - (entry.miou or 0)):+.2f}" if differs and own is not None else ""
    ended = f" (ended midway: {_sentence(entry.failed)})" if entry.failed else ""
    cells = ["" if value is None else f"{value:.1f}" for value in (p50, p90)]
    return [entry.title + ended, f"{entry.fps:.1f}", *cells, ratio_words(entry), _points(entry.miou), gap]


def _losses(record: PeersRecord) -> Iterator[str]:
    found, untold = list(losses(record)), list(_untold(record))
    if not found and not untold:
        yield "Nowhere among these."
        return
    yield from (f"- {words}" for _, words in found)
    yield from (f"- {words}" for words in untold)
    own = record.entry(record.reference)
    others = list(dict.fromkeys(entry.name for entry, _ in found if entry is not None))
    compared = [one for name in others if (one := record.entry(name)) is not None]
    if own is not None and compared:
        yield from ("", "Their time and edgeseg's, medians by stage, ms:", "")
        yield from _stages([own, *compared])


def _untold(record: PeersRecord) -> Iterator[str]:
    """Whom edgeseg was not compared with."""
    for entry in record.entries:
        if entry.latency is None:
            yield f"{entry.title} was not compared: {_sentence(entry.failed)}"


def _stages(entries: Sequence[PeerRecord], roofline: Roofline | None = None) -> list[str]:
    names = list(dict.fromkeys(name for entry in entries for name in entry.stages))
    rows = [
        [entry.title, *(_median(entry, name) for name in names), f"{1e3 / entry.fps:.2f}", *_rate(entry, roofline)]
        for entry in entries
        if entry.fps
    ]
    return _table(["system", *names, "all", *(["G multiply-adds a second"] if roofline else [])], rows)


def _rate(entry: PeerRecord, roofline: Roofline | None) -> list[str]:
    """What it computes in its inference; nothing where no column is asked for."""
    if roofline is None:
        return []
    inference = entry.stages.get("inference")
    return [f"{roofline.macs / 1e6 / (inference.percentiles_ms['50'] or inference.mean_ms):.0f}" if inference else ""]


def _held_back(roofline: Roofline | None) -> list[str]:
    """Why edgeseg's engine is not faster."""
    if roofline is None:
        return []
    rows = [[cell.replace("|", "\\|") for cell in row] for row in held_back_rows(roofline)]
    return ["### What holds edgeseg's engine back", "", *sentences(roofline, ""), "", *_table(list(HEADS), rows), ""]


def _median(entry: PeerRecord, stage: str) -> str:
    found = entry.stages.get(stage)
    if found is None:
        return ""
    median = found.percentiles_ms["50"]
    return f"{found.mean_ms if median is None else median:.2f}"


def _settings(entry: PeerRecord) -> list[str]:
    if not entry.settings:
        return []
    told = (f"{name}: `{json.dumps(value, default=str)}`" for name, value in entry.settings.items())
    versions = ", ".join(f"{name} {version}" for name, version in entry.versions.items())
    return [f"**{entry.title}** ({versions})", "", *(f"- {line}" for line in told), ""]


def _points(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _sentence(failed: str) -> str:
    return failed.splitlines()[0].replace("|", "\\|") if failed else ""


def _table(heads: list[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(line)} |" for line in (heads, rule, *rows)]
