"""What smoothing over time does to flicker and to accuracy, and what `--unknown` leaves out.

    python benchmarks/smoothing.py ENGINE -o benchmarks/records/2026-11-23-amd-epyc-avx2/smoothing.json

ENGINE is an INT8 engine of the default model. It and the float network are scored on CamVid's validation frames, which
are one drive, and on the demo video, which has no labels: there it tells how many pixels keep the class that the engine
gave them. The labels' own flicker is that of hand-painted edges.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends import Engine
from edgeseg.build.graphs import find_or_build
from edgeseg.build.store import find_engine, load_session
from edgeseg.catalog import DEFAULT_MODEL
from edgeseg.data.calibration import open_frames
from edgeseg.data.labelled import LabelledFrames, open_validation
from edgeseg.data.resize import frame_for_card, restore_class_map
from edgeseg.device import describe_device
from edgeseg.evaluate import ConfusionMatrix, class_maps
from edgeseg.evaluate.flicker import Flicker
from edgeseg.evaluate.sequence import SequenceScore, evaluate_sequence
from edgeseg.files import write_bytes
from edgeseg.labels import VOID
from edgeseg.stream.confidence import ConfidentAnswers
from edgeseg.stream.smoothing import Smoothing

UInt8 = npt.NDArray[np.uint8]
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
CONFIDENCES = (0.4, 0.5, 0.6, 0.8)
VIDEO = "demo://bikes"


class Row(msgspec.Struct):
    """One treatment. Shares are fractions of 1.

    Attributes:
        kept: Of the video's pixels, those with the class that the INT8 engine gave them.
    """

    what: str
    miou: float | None
    flicker: float
    video_flicker: float | None = None
    kept: float | None = None


class Unknown(msgspec.Struct):
    """What a least confidence leaves out of CamVid: of all pixels, of those with a wrong class; mIoU of the rest."""

    below: float
    share: float
    wrong_share: float
    miou: float


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    engine = find_engine(given.engine)
    frames = open_validation("camvid", engine.card.num_classes)
    with tempfile.TemporaryDirectory() as folder:
        network = find_or_build(DEFAULT_MODEL, Path(folder), upsample=engine.card.upsample)
        rows = [labels_row(frames), *rows_of("float", network, frames, ())]
    rows += rows_of("INT8", engine, frames, STRENGTHS)
    record = {
        "schema": "edgeseg.smoothing/1",
        "engine": {name: getattr(engine.card, name) for name in ("model", "backend", "precision", "dialect", "sha256")},
        "device": describe_device(),
        "video": VIDEO,
        "rows": rows,
        "unknown": list(unknown_rows(engine, frames)),
    }
    write_bytes(given.output, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def labels_row(frames: LabelledFrames) -> Row:
    """How much the labels flicker themselves."""
    flicker = Flicker()
    for _, label in frames:
        flicker.update(label)
    return Row("labels", None, flicker.score())


def rows_of(what: str, engine: Engine, frames: LabelledFrames, strengths: tuple[float, ...]) -> list[Row]:
    """A row for the engine as it is, and one for each strength."""
    resize, card = engine.card.preprocess.resize, engine.card
    smoothings = [None, *strengths]
    scores = [SequenceScore(card, *([Smoothing(by, resize).update] if by else [])) for by in smoothings]
    with load_session(engine) as session:
        for _ in evaluate_sequence(session, frames, scores):
            pass
        video = list(open_frames(VIDEO))
        plain = list(class_maps(session, (frame for _, frame in video)))
    rows = []
    for by, score in zip(smoothings, scores, strict=True):
        smoothing, flicker, kept = Smoothing(by or 0.0, resize), Flicker(), 0.0
        for (_, frame), class_map in zip(video, plain, strict=True):
            smoothed = smoothing.update(class_map.copy(), frame)
            flicker.update(smoothed)
            kept += float((smoothed == class_map).mean()) / len(plain)
        name = f"{what}, `--smooth {by:g}`" if by else what
        rows.append(Row(name, score.matrix.miou(), score.flicker.score(), flicker.score(), kept))
    return rows


def unknown_rows(engine: Engine, frames: LabelledFrames) -> Iterator[Unknown]:
    """A row for each least confidence."""
    card = engine.card
    with load_session(engine, "logits") as session:
        answers = [logits_of(session, frame) for frame, _ in frames]
    for below in CONFIDENCES:
        confident = ConfidentAnswers(card, answers[0].shape, below)
        sure = ConfidentAnswers(card, answers[0].shape)
        matrix, counts = ConfusionMatrix.empty(card.num_classes), np.zeros(4, np.int64)
        for logits, (_, label) in zip(answers, frames, strict=True):
            size = (label.shape[0], label.shape[1])
            first, every = (
                restore_class_map(one.class_map(logits)[0], size, card.preprocess.resize) for one in (confident, sure)
            )
            known, unknown, wrong = label != VOID, first == VOID, every != label
            counts += [np.count_nonzero(mask & known) for mask in (unknown, known, unknown & wrong, wrong)]
            matrix.update(first, np.where(unknown, np.uint8(VOID), label))
        yield Unknown(below, float(counts[0] / counts[1]), float(counts[2] / counts[3]), matrix.miou())


def logits_of(session: Any, frame: UInt8) -> Any:
    """`(C, h, w)` float32."""
    frame_for_card(frame, session.card.preprocess, session.input_buffer()[0])
    return session.submit().result()[0].copy()


if __name__ == "__main__":
    main()
