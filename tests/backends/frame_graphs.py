"""Graphs as backends get them: from camera frames to class maps."""

from __future__ import annotations

from pathlib import Path

import msgspec
import onnx
import onnx_ir as ir

from edgeseg.card import Card, Dialect, Head, PixelFormat, Preprocess, TailLayout, Upsample
from edgeseg.graph.attach import attach_head_and_tail
from edgeseg.graph.io import save_graph, set_card
from edgeseg.labels import voc_palette
from tests.graphs import CLASSES, tiny_prepared

SIZE = (32, 48)
#: With these weights no class is everywhere.
SEED = 27


def card(size_hw: tuple[int, int] = SIZE, *, batch: int = 1, pixel_format: PixelFormat = "bgr") -> Card:
    return Card(
        kind="prepared",
        model="tiny",
        classes=tuple(f"class {index}" for index in range(CLASSES)),
        palette=voc_palette(CLASSES),
        size_hw=size_hw,
        batch=batch,
        preprocess=Preprocess(pixel_format=pixel_format),
    )


def write_frame_graph(
    path: Path,
    size_hw: tuple[int, int] = SIZE,
    *,
    batch: int = 1,
    pixel_format: PixelFormat = "bgr",
    prepared: onnx.ModelProto | None = None,
    dialect: Dialect = "float",
    head: Head = "dequantize",
    tail: TailLayout = "channels_first",
    upsample: Upsample = "none",
) -> Path:
    """The tiny network with head and tail; its class map is that of the logits, grown by nearest neighbour."""
    model = ir.from_proto(prepared or tiny_prepared(*size_hw, batch=batch, seed=SEED))
    own = card(size_hw, batch=batch, pixel_format=pixel_format)
    set_card(model, msgspec.structs.replace(own, dialect=dialect))
    save_graph(attach_head_and_tail(model, head=head, tail=tail, upsample=upsample), path)
    return path
