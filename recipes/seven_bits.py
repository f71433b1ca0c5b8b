"""Put the INT8 recipe for x86 processors without VNNI, whose weights get seven bits, onto the cards of shipped models.

    python recipes/seven_bits.py [MODEL...]

It is that of `u8-asym`, with biases corrected on CamVid's training frames: half the steps shift means by more. What a
machine with VNNI builds does not hold it, and the graph itself stays as it is.
"""

from __future__ import annotations

import sys

import msgspec

from edgeseg.build.calibrate import pixels_of
from edgeseg.build.prepared import open_prepared
from edgeseg.build.recipe import BuildRecipe
from edgeseg.catalog import ranges_beside, zoo_model, zoo_models
from edgeseg.data.calibration import open_frames
from edgeseg.graph.io import load_graph, require_card, save_graph
from edgeseg.quantize.correction import measure_corrections
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.ranges import load_ranges

#: Of CamVid's training frames, evenly spaced.
FRAMES = 30


def add_recipe(model: str) -> None:
    """Measure the corrections of one model, and write its card anew."""
    path = zoo_model(model)
    prepared = open_prepared(BuildRecipe(model=model))[1]
    card, ranges = require_card(prepared), load_ranges(ranges_beside(path))
    recipe = card.int8["u8-asym"]
    quantized = quantize_onnx(prepared, ranges, dialect="u8-asym-reduced", recipe=recipe)
    frames = open_frames("camvid-train").choose(FRAMES)
    corrections = measure_corrections(prepared, quantized, list(pixels_of(frames, card)))
    found = msgspec.structs.replace(recipe, bias_corrected=True, corrections=corrections)
    graph = load_graph(path)
    whole = require_card(graph)
    save_graph(graph, path, msgspec.structs.replace(whole, int8={**whole.int8, "u8-asym-reduced": found}))


for name in sys.argv[1:] or zoo_models():
    add_recipe(name)
