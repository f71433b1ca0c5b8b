"""`edgeseg eval`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.native import make_ready, native_options
from edgeseg.cli.options import UPSAMPLE
from edgeseg.cli.report import json_option, points, print_json, print_table, progress

if TYPE_CHECKING:
    from edgeseg.backends import Engine
    from edgeseg.evaluate import ConfusionMatrix

__all__ = ["eval_"]


@click.command("eval")
@click.argument("engine", required=False)
@click.option(
    "--data", required=True, metavar="DIR", help="Labelled frames: images/ with masks/ or labels/; or camvid."
)
@click.option("--upsample", type=UPSAMPLE, default="full", show_default=True, help="Where ENGINE is a graph.")
@native_options
@json_option
def eval_(engine: str | None, data: str, upsample: Any, rebuild: bool, trust_engine: bool, as_json: bool) -> None:
    """Score ENGINE on labelled frames: mIoU, IoU by class, and pixel accuracy.

    ENGINE is a path or the name of an engine that was built; without it the one that was built last. A shipped
    model's name or a float .onnx graph with a card is scored as it is. Frames are resized to the engine's input, and
    class maps are compared at the size of the labels; pixels with 255 are void.

    \b
    Examples:
      edgeseg eval --data camvid
      edgeseg eval engines/street.onnx --data street/val --json
      edgeseg eval liteseg-efficientnet-lite0-camvid --data camvid --upsample full
    """
    from edgeseg.build.graphs import find_or_build, graph_path
    from edgeseg.build.store import load_session
    from edgeseg.data.labelled import open_validation
    from edgeseg.evaluate import ConfusionMatrix, evaluate_frames

    make_ready(engine, rebuild=rebuild, trust_engine=trust_engine)
    with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder:
        found = find_or_build(engine, Path(folder), upsample=upsample)
        frames = open_validation(data, found.card.num_classes)
        matrix = ConfusionMatrix.empty(found.card.num_classes)
        with load_session(found) as session, progress("Scoring") as update:
            for done, one in enumerate(evaluate_frames(session, frames), 1):
                matrix += one
                update(done / len(frames), f"{done} of {len(frames)} frames")
    if as_json:
        scored = graph_path(engine) if engine else None
        print_json(
            "eval", {"engine": str(scored or found.path), **_report(found, matrix), "data": data, "frames": len(frames)}
        )
    else:
        _tell(found, matrix, len(frames), data)


def _report(engine: Engine, matrix: ConfusionMatrix) -> dict[str, Any]:
    card = engine.card
    return {
        "model": card.model,
        "backend": card.backend,
        "precision": card.precision,
        "size_hw": card.size_hw,
        "upsample": card.upsample,
        "miou": matrix.miou(),
        "class_iou": dict(zip(card.classes, matrix.class_iou().tolist(), strict=True)),
        "pixel_accuracy": matrix.pixel_accuracy(),
    }


def _tell(engine: Engine, matrix: ConfusionMatrix, frames: int, data: str) -> None:
    card = engine.card
    scores = zip(card.classes, matrix.class_iou().tolist(), matrix.class_share().tolist(), strict=True)
    rows = [(name, points(iou), points(share)) for name, iou, share in scores]
    height, width = card.fixed_size_hw
    title = f"{card.model}, {card.precision} on {card.backend}, {height}x{width}, upsample {card.upsample}"
    print_table(title, ("class", "IoU", "% of pixels"), [*rows, ("mean", points(matrix.miou()), "")])
    click.echo(
        f"mIoU {points(matrix.miou())}, pixel accuracy {points(matrix.pixel_accuracy())} on {frames} frames of {data}"
    )
