"""Several records as one report: their engines in one table, and which records can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from edgeseg.bench.collection import same_conditions
from edgeseg.bench.judged import labelled_miou
from edgeseg.bench.markdown import columns, markdown, reference_words, row, table_lines
from edgeseg.bench.record import EngineRecord, Record

__all__ = ["SCHEMA", "WORDS", "Entry", "Report", "Table", "engine_table", "merge", "merged_markdown", "record_table"]

SCHEMA: Final = "edgeseg.report/1"
#: How the table of engines is to be read.
WORDS = (
    "Latencies have 95 % intervals, and n/a stands where there were too few samples. mIoU is what an engine's build "
    "measured on so many labelled frames, which may be others than another's. Where a reference kernel of the same "
    "version took longer, the machine itself was slower."
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One record among others.

    Attributes:
        number: Its place, from 1.
        path: What it was read from.
        comparable_with: Numbers of the others that were measured under the same conditions.
        record: All of it.
    """

    number: int
    path: str
    comparable_with: tuple[int, ...]
    record: Record


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Records together.

    Attributes:
        page: Path of the HTML file that shows them.
        notes: Why not all of them can be compared with each other, a sentence each.
        records: In the order in which they were given.
    """

    schema: Literal["edgeseg.report/1"] = SCHEMA
    page: str
    notes: tuple[str, ...]
    records: tuple[Entry, ...]

    def headlines(self) -> list[str]:
        """The notes, and what makes the figures of each record doubtful."""
        flags = ((one.number, " ".join(one.record.environment.flags)) for one in self.records)
        return [*self.notes, *(f"Record {number}: {told}" for number, told in flags if told)]

    def groups(self) -> list[list[Entry]]:
        """Records that can all be compared with each other, by their numbers; one that can't with any has none."""
        found = sorted({tuple(sorted((one.number, *one.comparable_with))) for one in self.records})
        return [[self.records[number - 1] for number in numbers] for numbers in found if len(numbers) > 1]


class Table(NamedTuple):
    """Heads, and as many cells in each row."""

    heads: list[str]
    rows: list[list[str]]


def merge(records: Sequence[tuple[Path, Record]], page: Path) -> Report:
    """Put records together.

    Args:
        records: Each with what it was read from.
        page: The HTML file that will show them.
    """
    every = [record for _, record in records]
    entries = (
        Entry(number=number, path=str(path), comparable_with=_comparable(number, every), record=record)
        for number, (path, record) in enumerate(records, 1)
    )
    return Report(page=str(page), notes=tuple(same_conditions(every)), records=tuple(entries))


def record_table(report: Report) -> Table:
    """What each record is, and which others it can be compared with."""
    heads = ["record", "comparable with", "measured", "scenario", "machine", "reference kernel"]
    return Table(heads, [_about(entry) for entry in report.records])


def engine_table(report: Report) -> Table:
    """All engines of all records, with the figures that each record's own table has; marked where not all compare."""
    every = [(entry, engine) for entry in report.records for engine in entry.record.engines]
    told = [_cells(entry, engine) for entry, engine in every]
    percentiles = sorted({p for entry in report.records for p in entry.record.settings.percentiles})
    miou = ["mIoU"] if any(cells["mIoU"] for cells in told) else []
    threads = ["threads"] if len({cells["threads"] for cells in told}) > 1 else []
    latencies = [f"p{p:g} ms" for p in percentiles]
    marks = ["comparable with"] if report.notes else []
    heads = ["engine", "record", *marks, "FPS", *latencies, *miou, "size", "precision", "backend", *threads]
    return Table(heads, [[cells.get(head, "") for head in heads] for cells in told])


def merged_markdown(report: Report) -> str:
    """The common tables and then each record; one record alone is as it would be without others."""
    each = [markdown(entry.record) for entry in report.records]
    together = "\n".join(_together(report)) if len(each) > 1 else ""
    return together + "\n".join(each)


def _together(report: Report) -> Iterator[str]:
    yield from (f"# {len(report.records)} benchmarks together", "")
    yield from (f"**{note}**\n" for note in report.headlines())
    yield from (*table_lines(*record_table(report)), "", *table_lines(*engine_table(report)), "", WORDS, "", "")


def _comparable(number: int, every: Sequence[Record]) -> tuple[int, ...]:
    mine = every[number - 1]
    return tuple(n for n, one in enumerate(every, 1) if n != number and not same_conditions((mine, one)))


def _about(entry: Entry) -> list[str]:
    environment = entry.record.environment
    device = environment.device
    return [
        f"{entry.number}: {entry.path}",
        _others(entry),
        entry.record.created,
        entry.record.settings.scenario,
        f"{device.board or device.cpu}, {device.cores} cores",
        reference_words(environment),
    ]


def _others(entry: Entry) -> str:
    return ", ".join(map(str, entry.comparable_with)) or "none"


def _cells(entry: Entry, engine: EngineRecord) -> dict[str, str]:
    own = dict(zip(columns(entry.record), row(entry.record, engine), strict=True))
    when = f"{entry.number}: {entry.record.created[:16].replace('T', ' ')}"
    miou = labelled_miou(engine)
    judged = "" if miou is None else f"{100 * miou:.2f} ({engine.accuracy.get('frames', 0)} frames)"
    threads = str(engine.execution.get("threads", ""))
    return own | {"record": when, "comparable with": _others(entry), "mIoU": judged, "threads": threads}
