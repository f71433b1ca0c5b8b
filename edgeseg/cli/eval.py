"""`edgeseg eval`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.native import make_ready, native_options
from edgeseg.cli.options import UPSAMPLE
from edgeseg.cli.report import json_option, points, print_json, print_table, progress

if TYPE_CHECKING:
    from edgeseg.backends import Engine
    from edgeseg.evaluate.flicker import Flicker
    from edgeseg.evaluate.sequence import SequenceScore

__all__ = ["eval_"]


@click.command("eval")
@click.argument("engine", required=False)
@click.option(
    "--data", required=True, metavar="DIR", help="Labelled frames: images/ with masks/ or labels/; or camvid."
)
@click.option("--upsample", type=UPSAMPLE, default="full", show_default=True, help="Where ENGINE is a graph.")
@click.option(
    "--smooth",
    type=click.FloatRange(0, 1),
    multiple=True,
    metavar="STRENGTH",
    help="Score the class maps smoothed over time too, 0 to 1, as edgeseg run does; may be repeated.",
)
@native_options
@json_option
def eval_(
    engine: str | None,
    data: str,
    upsample: Any,
    smooth: tuple[float, ...],
    rebuild: bool,
    trust_engine: bool,
    as_json: bool,
) -> None:
    """Score ENGINE on labelled frames: mIoU, IoU by class, pixel accuracy, and flicker.

    ENGINE is a path or the name of an engine that was built; without it the one that was built last. A shipped
    model's name or a float .onnx graph with a card is scored as it is. Frames are resized to the engine's input, and
    class maps are compared at the size of the labels; pixels with 255 are void.

    Flicker is the share of pixels that, from one frame to the next, go back to the class they left at most 5 frames
    ago. It tells something where the frames, in the order of their names, are a video; the labels' own is beside it.

    \b
    Examples:
      edgeseg eval --data camvid
      edgeseg eval engines/street.onnx --data street/val --json
      edgeseg eval liteseg-efficientnet-lite0-camvid --data camvid --upsample full
      edgeseg eval --data camvid --smooth 0.5 --smooth 1
    """
    from edgeseg.build.graphs import find_or_build, graph_path
    from edgeseg.build.store import load_session
    from edgeseg.data.labelled import open_validation
    from edgeseg.evaluate.flicker import Flicker
    from edgeseg.evaluate.sequence import SequenceScore, evaluate_sequence
    from edgeseg.stream.smoothing import Smoothing

    make_ready(engine, rebuild=rebuild, trust_engine=trust_engine)
    with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder:
        found = find_or_build(engine, Path(folder), upsample=upsample)
        frames = open_validation(data, found.card.num_classes)
        smoothings = [Smoothing(strength, found.card.preprocess.resize) for strength in smooth]
        plain, *smoothed = (SequenceScore(found.card), *(SequenceScore(found.card, by.update) for by in smoothings))
        labels = Flicker()
        with load_session(found) as session, progress("Scoring") as update:
            for done, label in enumerate(evaluate_sequence(session, frames, [plain, *smoothed]), 1):
                labels.update(label)
                update(done / len(frames), f"{done} of {len(frames)} frames")
    by_strength = list(zip(smooth, smoothed, strict=True))
    if as_json:
        scored = graph_path(engine) if engine else None
        body = {"engine": str(scored or found.path), **_report(found, plain, by_strength, labels)}
        print_json("eval", {**body, "data": data, "frames": len(frames)})
    else:
        _tell(found, plain, len(frames), data)
        _tell_flicker(plain, by_strength, labels)


def _report(
    engine: Engine, plain: SequenceScore, smoothed: Sequence[tuple[float, SequenceScore]], labels: Flicker
) -> dict[str, Any]:
    card = engine.card
    return {
        "model": card.model,
        "backend": card.backend,
        "precision": card.precision,
        "size_hw": card.size_hw,
        "upsample": card.upsample,
        **_scores(plain),
        "smoothed": [{"strength": strength, **_scores(score)} for strength, score in smoothed],
        "label_flicker": labels.score(),
    }


def _scores(score: SequenceScore) -> dict[str, Any]:
    return {
        "miou": score.matrix.miou(),
        "class_iou": dict(zip(score.card.classes, score.matrix.class_iou().tolist(), strict=True)),
        "pixel_accuracy": score.matrix.pixel_accuracy(),
        "flicker": score.flicker.score(),
    }


def _tell(engine: Engine, score: SequenceScore, frames: int, data: str) -> None:
    card, matrix = engine.card, score.matrix
    scores = zip(card.classes, matrix.class_iou().tolist(), matrix.class_share().tolist(), strict=True)
    rows = [(name, points(iou), points(share)) for name, iou, share in scores]
    height, width = card.fixed_size_hw
    title = f"{card.model}, {card.precision} on {card.backend}, {height}x{width}, upsample {card.upsample}"
    print_table(title, ("class", "IoU", "% of pixels"), [*rows, ("mean", points(matrix.miou()), "")])
    click.echo(
        f"mIoU {points(matrix.miou())}, pixel accuracy {points(matrix.pixel_accuracy())} on {frames} frames of {data}"
    )


def _tell_flicker(plain: SequenceScore, smoothed: Sequence[tuple[float, SequenceScore]], labels: Flicker) -> None:
    click.echo(f"Flicker {points(plain.flicker.score())} % of the pixels, of the labels {points(labels.score())} %")
    for strength, score in smoothed:
        flicker = points(score.flicker.score())
        click.echo(f"Smoothed by {strength:g}: mIoU {points(score.matrix.miou())}, flicker {flicker} %")
