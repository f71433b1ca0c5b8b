"""`edgeseg compare`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.options import UPSAMPLE
from edgeseg.cli.report import json_option, print_json, print_table, progress, say
from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from edgeseg.bench import Comparison
    from edgeseg.bench.explain import Frames

__all__ = ["compare"]

#: Without labels, unless told otherwise.
FRAMES = 100


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--frames", metavar="SOURCE", help="Frames without labels: a folder, a list, a video, demo://bikes.")
@click.option("--data", metavar="DIR", help="Labelled frames: images/ with masks/ or labels/; or camvid.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Frames at most, evenly spaced.  [default: all of --data, 100 of --frames]",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False, writable=True),
    metavar="DIR",
    help="Folder for the report and the strips of the worst frames.",
)
@click.option("--worst", type=click.IntRange(1, 50), default=6, show_default=True, help="Number of worst frames.")
@click.option("--duration", type=click.FloatRange(0), default=5, show_default=True, help="Seconds of timing.")
@click.option("--upsample", type=UPSAMPLE, default="half", show_default=True, help="Where A or B is a graph.")
@json_option
def compare(
    a: str,
    b: str,
    frames: str | None,
    data: str | None,
    limit: int | None,
    out: Path | None,
    worst: int,
    duration: float,
    upsample: Any,
    as_json: bool,
) -> None:
    """Compare A and B on the same frames, and show where they differ.

    A and B are engines, or float graphs with a card, which run in float on ONNX Runtime. Give A the float one. With
    labels, that is IoU by class, the confusions that grew from A to B, and the frames where B lost most; without, the
    classes that B gives otherwise than A, and the frames that agree least: agreement, which is no accuracy. Both are
    timed in turns.

    With -o, DIR gets compare.md, compare.json, and worst-01.png and so on: frame, label, A, B and difference side by
    side. Files of these names are replaced, and strips of an earlier comparison removed.

    \b
    Examples:
      edgeseg compare float.onnx int8.onnx --data camvid                what INT8 costs, class by class
      edgeseg compare float.onnx int8.onnx --data street/val -o why     and where: why/compare.md
      edgeseg compare float.onnx int8.onnx --data camvid -o why --worst 20
      edgeseg compare float.onnx int8.onnx --frames drive.mp4 -o why    without labels
      edgeseg compare liteseg-efficientnet-lite0-camvid int8.onnx --data camvid --json
    """
    if (frames is None) == (data is None):
        raise UsageError("Give the frames to compare on: either --frames SOURCE or --data DIR.")
    from edgeseg.bench import compare_engines, make_folder, write_comparison
    from edgeseg.build.graphs import find_or_build

    pictures: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder, progress("Comparing") as update:
        first, second = (find_or_build(word, Path(folder), upsample=upsample) for word in (a, b))
        shown = _open(data, frames, limit, first.card.num_classes)
        if out is not None:
            make_folder(out)
        keep = pictures.__setitem__ if out is not None else None
        sides = (a, first), (b, second)
        found = compare_engines(*sides, shown, seconds=duration, worst=worst, on_picture=keep, on_progress=update)
    for warning in found.warnings:
        say(f"warning: {warning}")
    written = write_comparison(found, pictures, out) if out is not None else None
    if as_json:
        print_json("compare", found)
    else:
        _tell(found)
    if written is not None:
        say(f"{written.with_suffix('.md')} shows where they differ, {written} holds the figures.")


def _open(data: str | None, frames: str | None, limit: int | None, num_classes: int) -> Frames:
    from edgeseg.bench.explain import evenly_spaced
    from edgeseg.data.calibration import open_frames
    from edgeseg.data.labelled import open_validation

    if data is None:
        return open_frames(frames or "", limit=limit or FRAMES)
    labelled = open_validation(data, num_classes)
    return evenly_spaced(labelled, limit) if limit else labelled


def _tell(found: Comparison) -> None:
    from edgeseg.bench.comparison_report import agreement_sentence, headline, speed_sentence, tables

    for table in tables(found):
        print_table(table.title, table.heads, table.rows)
    for sentence in (agreement_sentence(found), headline(found), speed_sentence(found)):
        click.echo(sentence)
