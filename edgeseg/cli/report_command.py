"""`edgeseg report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from edgeseg.cli.options import Finite
from edgeseg.cli.report import json_option, print_json, print_table, say
from edgeseg.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from edgeseg.bench import Record
    from edgeseg.bench.diff import Difference, Measured
    from edgeseg.bench.kept import Samples
    from edgeseg.bench.merged import Report

    Read = Sequence[tuple[Record, Samples]]

__all__ = ["report"]


@click.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("-o", "out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the page.")
@click.option("--diff", is_flag=True, help="Has the second become slower than the first? Exit code 7 if so.")
@click.option(
    "--band",
    type=Finite(0, 100, min_open=True),
    metavar="PERCENT",
    help="Changes below are noise.  [default: 3 in turns, 10 of two records]",
)
@json_option
def report(records: tuple[Path, ...], out: Path | None, diff: bool, band: float | None, as_json: bool) -> None:
    """Merge benchmarks into one report, or tell whether one is slower than another.

    RECORDS are folders of `edgeseg bench`, or their bench.json. The folder of -o gets report.html, report.md and
    report.json: all engines in one table, accuracy against latency over all records, and then each record. Records that
    can't be compared are marked, and never drawn together.

    With --diff: one record of two engines that were measured in turns, or two records of one engine on one machine,
    which are set against each other by the reference kernel; of these only changes of more than 10 % can be told.

    \b
    Examples:
      edgeseg report runs/bench/street runs/bench/night -o runs/report
      edgeseg report runs/bench/monday runs/bench/tuesday --diff
      edgeseg bench old.onnx new.onnx -o runs/bench/both && edgeseg report runs/bench/both --diff
    """
    from edgeseg.bench.collection import read_with_samples

    if out is None and not diff:
        raise click.UsageError("Say where the page goes, or what to compare: -o DIR, or --diff.")
    read = [read_with_samples(path) for path in records]
    if out is not None:
        merged = _write(records, read, out)
        if not diff:
            _tell(merged, as_json=as_json)
            return
    found = _difference(_two(read), band / 100 if band else None)
    slower = GateFailed(
        f"{found.new if found.new != found.old else 'The second'} is {found.ratio - 1:.1%} slower than "
        f"{found.old if found.new != found.old else 'the first'}.",
        hint="edgeseg report with -o DIR shows both, stage by stage.",
    )
    slower.report = msgspec.to_builtins(found)
    if as_json and found.verdict == "slower":
        raise slower  # Its JSON holds the difference too.
    if as_json:
        print_json("report", found)
    else:
        print_table("", ("", ""), _rows(found))
    for note in found.notes:
        say(f"warning: {note}")
    if found.verdict == "slower":
        raise slower


def _write(paths: Sequence[Path], read: Read, out: Path) -> Report:
    """Leave the page, the Markdown and the JSON in the folder."""
    from edgeseg.bench.merged import merge, merged_markdown
    from edgeseg.bench.page import html
    from edgeseg.files import write_bytes

    page = out / "report.html"
    merged = merge([(path, record) for path, (record, _) in zip(paths, read, strict=True)], page)
    write_bytes(page, html(read, merged).encode())
    write_bytes(page.with_suffix(".md"), merged_markdown(merged).encode())
    write_bytes(page.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(merged), indent=2) + b"\n")
    say(f"{page} shows {len(read)} {'record' if len(read) == 1 else 'records'}, and report.json holds the figures.")
    return merged


def _tell(merged: Report, *, as_json: bool) -> None:
    from edgeseg.bench.merged import engine_table

    if as_json:
        print_json("report", merged)
    else:
        print_table("", *engine_table(merged))
    for note in merged.notes:
        say(f"warning: {note}")


def _two(read: Read) -> tuple[Measured, Measured]:
    """The old and the new engine of one record, or of two."""
    from edgeseg.bench.diff import Measured

    if len(read) == 1 and len(read[0][0].engines) == 2:
        return Measured(read[0][0], 0, read[0][1]), Measured(read[0][0], 1, read[0][1])
    if len(read) == 2 and all(len(record.engines) == 1 for record, _ in read):
        return Measured(read[0][0], 0, read[0][1]), Measured(read[1][0], 0, read[1][1])
    counts = ", ".join(str(len(record.engines)) for record, _ in read)
    raise UsageError(
        f"--diff compares two engines; given were records of {counts}.",
        hint="Either one record of two engines (edgeseg bench OLD NEW), or two of one engine each.",
    )


def _difference(both: tuple[Measured, Measured], band: float | None) -> Difference:
    from edgeseg.bench.diff import differ

    return differ(*both, band=band)


def _rows(found: Difference) -> list[tuple[str, str]]:
    low, high = found.interval
    return [
        ("old", f"{found.old}: {found.old_ms:.2f} ms"),
        ("new", f"{found.new}: {found.new_ms:.2f} ms"),
        ("new to old", f"{found.ratio:.3f} ({low:.3f} to {high:.3f}), {found.how}"),
        ("verdict", f"{found.verdict} (changes below {100 * found.band:g} % are noise)"),
    ]
