"""`edgeseg compare`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.options import UPSAMPLE
from edgeseg.cli.report import json_option, points, print_json, print_table, progress
from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from edgeseg.bench import Comparison
    from edgeseg.bench.comparison import Side

__all__ = ["compare"]


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--frames", metavar="SOURCE", help="Frames without labels: a folder, a list, a video, demo://bikes.")
@click.option("--data", metavar="DIR", help="Labelled frames: images/ with masks/ or labels/; or camvid.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Of --frames, evenly spaced.")
@click.option("--duration", type=click.FloatRange(0), default=5, show_default=True, help="Seconds of timing.")
@click.option("--upsample", type=UPSAMPLE, default="half", show_default=True, help="Where A or B is a graph.")
@json_option
def compare(
    a: str, b: str, frames: str | None, data: str | None, limit: int, duration: float, upsample: Any, as_json: bool
) -> None:
    """Compare A and B on the same frames: agreement, accuracy on labels, speed in turns.

    A and B are engines, or float graphs with a card, which run in float on ONNX Runtime. Agreement counts the pixels
    where A is confident; it is no accuracy. Give A the float one.

    \b
    Examples:
      edgeseg compare liteseg-efficientnet-lite0-camvid street-int8.onnx --frames demo://bikes
      edgeseg compare float.onnx int8.onnx --data camvid --json
    """
    if (frames is None) == (data is None):
        raise UsageError("Give the frames to compare on: either --frames SOURCE or --data DIR.")
    from edgeseg.bench import compare_engines
    from edgeseg.build.graphs import find_or_build
    from edgeseg.data.calibration import open_frames
    from edgeseg.data.labelled import open_validation

    with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder, progress("Comparing") as update:
        first, second = (find_or_build(word, Path(folder), upsample=upsample) for word in (a, b))
        labelled = open_validation(data, first.card.num_classes) if data is not None else None
        plain = open_frames(frames, limit=limit) if frames is not None else ()
        shown = (frame for frame, _ in labelled) if labelled is not None else (one.frame for one in plain)
        found = compare_engines((a, first), (b, second), shown, labelled=labelled, seconds=duration, on_progress=update)
    if as_json:
        print_json("compare", found)
    else:
        _tell(found)


def _tell(found: Comparison) -> None:
    rows = [
        ("backend", found.a.backend, found.b.backend),
        ("precision", _precision(found.a), _precision(found.b)),
        ("size", *("x".join(map(str, side.size_hw)) for side in (found.a, found.b))),
        *(
            (f"p{p} ms", _ms(value), _ms(found.b.speed.percentiles_ms[p]))
            for p, value in found.a.speed.percentiles_ms.items()
        ),
        ("FPS", f"{found.a.speed.fps:.1f}", f"{found.b.speed.fps:.1f}"),
    ]
    if found.drop is not None:
        rows += [
            (f"IoU {name}", points(iou), points(found.b.class_iou[name])) for name, iou in found.a.class_iou.items()
        ]
        rows.append(("mIoU", points(found.a.miou), points(found.b.miou)))
    print_table(f"On {found.frames} frames", ("", f"A: {found.a.engine}", f"B: {found.b.engine}"), rows)
    click.echo(_agreement(found))
    if found.drop is not None:
        low, high = found.drop.drop_ci95 or (float("nan"), float("nan"))
        click.echo(
            f"mIoU drops by {points(found.drop.drop)} points from A to B (95 %: {points(low)} to {points(high)})."
        )
    click.echo(f"B is {found.speed_ratio:.2f} times as fast as A.")


def _precision(side: Side) -> str:
    return side.precision if side.dialect == "float" else f"{side.precision} {side.dialect}"


def _ms(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _agreement(found: Comparison) -> str:
    facts = found.agreement
    worst = min(facts.class_iou.items(), key=lambda item: item[1], default=None)
    least = f", least IoU {worst[1]:.3f} ('{worst[0]}')" if worst else ""
    return (
        f"Agreement: {points(facts.share)} % of all pixels, {points(facts.confident_share)} % of the "
        f"{points(facts.confident_pixels)} % where A is confident{least}: "
        f"{'enough' if facts.passes else 'too little'} for the gate of edgeseg build."
    )
