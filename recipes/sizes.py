"""Measure mIoU of shipped models at the sizes and tails that `edgeseg build --fps` searches, onto their cards.

    python recipes/sizes.py [MODEL...]

On CamVid's validation frames, in float and in each INT8 dialect, quantized by the model's own ranges and recipe. ONNX
Runtime computes the Q/DQ graphs as they stand, in float: the same on every processor, and what engines come near to.
Where a larger size is less accurate than the model's own, INT8 is not measured, since nobody wants it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import onnx
import onnx_ir as ir
import onnxruntime

from edgeseg.backends import EngineOptions
from edgeseg.backends.ort import OnnxRuntime, OrtSession, session_options
from edgeseg.backends.session import Output
from edgeseg.bench.budget.space import TAILS, sizes_about
from edgeseg.build.prepared import open_prepared
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Card, Dialect, Upsample, tail_size
from edgeseg.catalog import ranges_beside, zoo_model, zoo_models
from edgeseg.data.labelled import open_validation
from edgeseg.evaluate import evaluate_session
from edgeseg.graph.attach import attach_head_and_tail
from edgeseg.graph.io import load_graph, require_card, save_graph
from edgeseg.graph.shipped import MeasuredSizes, SizeRow
from edgeseg.quantize.dialects import DIALECTS, quantize_onnx
from edgeseg.quantize.ranges import load_ranges


class AsItStands(OnnxRuntime):
    """ONNX Runtime without any change of the graph, so that Q/DQ are computed in float."""

    def _open(self, model: onnx.ModelProto, card: Card, output: Output) -> OrtSession:
        options = session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return OrtSession(card, self._compile(model, options), output)


def quantized(model: str, prepared: ir.Model) -> Iterator[tuple[Dialect, ir.Model]]:
    """A model in each dialect."""
    card, ranges = require_card(prepared), load_ranges(ranges_beside(zoo_model(model)))
    for dialect in DIALECTS:
        yield dialect, quantize_onnx(prepared, ranges, dialect=dialect, recipe=card.int8[dialect])


def logits_hw(graph: ir.Model) -> tuple[int, int]:
    """Height and width of a graph's logits."""
    shape = graph.graph.outputs[0].shape
    assert shape is not None
    height, width = (int(side) for side in shape.numpy()[2:])
    return height, width


def miou(graph: ir.Model, upsample: Upsample) -> float:
    """Of a graph with head and tail, over all frames."""
    backend = AsItStands()
    whole = attach_head_and_tail(graph, head=backend.head, tail=backend.tail, upsample=upsample)
    card = require_card(whole)
    with tempfile.TemporaryDirectory() as folder:
        graph_path = Path(folder) / "graph.onnx"
        save_graph(whole, graph_path, card)
        engine = backend.build(graph_path, Path(folder) / "engine.onnx", EngineOptions())
        with backend.load(engine) as session:
            return evaluate_session(session, open_validation("camvid", card.num_classes)).miou()


def by_tail(graph: ir.Model, what: str) -> dict[Upsample, float]:
    """mIoU with each tail; those that pick classes at one size are measured once."""
    size_hw, by_size = require_card(graph).fixed_size_hw, dict[tuple[int, int], float]()
    found: dict[Upsample, float] = {}
    for tail in TAILS:
        picked_hw = tail_size(size_hw, logits_hw(graph), tail)
        if picked_hw not in by_size:
            by_size[picked_hw] = round(miou(graph, tail), 6)
            print(what, size_hw, tail, by_size[picked_hw], flush=True)
        found[tail] = by_size[picked_hw]
    return found


def measure(model: str) -> MeasuredSizes:
    """All rows of one model."""
    card = require_card(load_graph(zoo_model(model)))
    best, rows = 0.0, list[SizeRow]()
    for size_hw in sizes_about(card.fixed_size_hw):
        prepared = open_prepared(BuildRecipe(model=model, imgsz=size_hw))[1]
        found: dict[Dialect, dict[Upsample, float]] = {"float": by_tail(prepared, f"{model} float")}
        if found["float"]["half"] > best:
            best = found["float"]["half"]
            found |= {dialect: by_tail(graph, f"{model} {dialect}") for dialect, graph in quantized(model, prepared)}
        rows += [
            SizeRow(size_hw=size_hw, upsample=tail, miou={dialect: told[tail] for dialect, told in found.items()})
            for tail in TAILS
        ]
    return MeasuredSizes(
        data="CamVid val",
        frames=len(open_validation("camvid", card.num_classes)),
        how=f"ONNX Runtime {onnxruntime.__version__}, Q/DQ as they stand",
        rows=tuple(rows),
    )


def main() -> None:
    """Measure, and write the cards anew; graphs stay as they are."""
    for model in sys.argv[1:] or zoo_models():
        sizes = measure(model)
        graph = load_graph(zoo_model(model))
        card = require_card(graph)
        told = msgspec.structs.replace(card, measured={**card.measured, "sizes": msgspec.to_builtins(sizes)})
        save_graph(graph, zoo_model(model), told)


if __name__ == "__main__":
    main()
