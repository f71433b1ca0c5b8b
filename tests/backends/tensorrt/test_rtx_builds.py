"""Every shipped model, and one pair of every decoder, through the real builder of TensorRT-RTX, which needs no GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx_ir as ir

from edgeseg.backends import Backend
from edgeseg.backends.tensorrt.layers import Layer, read_layers
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.build.candidates import Built, Candidate, build_candidate
from edgeseg.build.engine_graph import MadeGraphs, count_convs, depthwise_convs
from edgeseg.build.gate import golden_frame
from edgeseg.build.graph_facts import Quantization
from edgeseg.build.prepared import open_prepared
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Int8Recipe
from edgeseg.catalog import DEFAULT_MODEL, ranges_beside, zoo_model, zoo_models
from edgeseg.graph.attach import CLASS_MAP, FRAME
from edgeseg.graph.io import require_card
from edgeseg.graph.verify import verify_batch
from edgeseg.quantize.ranges import load_ranges
from tests.engines import installed

DECODERS = ("liteseg", "lraspp", "deeplabv3plus", "ppliteseg", "fcn", "unet")


class Row(NamedTuple):
    """One engine, as the table has it."""

    network: str
    precision: str
    int8: str
    plan_mb: str
    seconds: str


@pytest.fixture(scope="module")
def backend() -> Backend:
    return installed("tensorrt-rtx")


@pytest.fixture(scope="module")
def note(pytestconfig: pytest.Config) -> Iterator[Callable[[Row], None]]:
    """Takes the rows of the table that `make test` prints."""
    rows: list[Row] = []
    yield rows.append
    if pytestconfig.cache is not None:
        head = "| network | precision | INT8 convolutions | plan MB | seconds |\n| --- | --- | ---: | ---: | ---: |\n"
        text = head + "".join(f"| {' | '.join(row)} |\n" for row in rows)
        (pytestconfig.cache.mkdir("rtx") / "builds.md").write_text(text)


def build(
    backend: Backend, prepared: ir.Model, precision: str, how: Quantization | None, folder: Path, spare: bool = False
) -> tuple[Built, tuple[Layer, ...]]:
    dialect = "s8-sym" if how else "float"
    candidate = Candidate(backend, precision, dialect, "candidate", spare)  # type: ignore[arg-type]
    built = build_candidate(candidate, MadeGraphs(prepared, "half"), how, BuildRecipe(), folder)
    return built, read_layers(built.engine.path)


def row_of(network: str, built: Built) -> Row:
    execution = built.engine.card.measured["execution"]
    ran = execution["convolutions"]
    spared = ", depthwise in float" if built.candidate.spare_depthwise else ""
    return Row(
        network,
        built.candidate.precision + spared,
        f"{ran.get('int8', 0)} of {sum(ran.values())}",
        f"{built.engine.path.stat().st_size / 1e6:.1f}",
        f"{execution['build_seconds']:.1f}",
    )


def dtypes_of(name: str, layers: tuple[Layer, ...]) -> set[str]:
    """Types of a tensor, wherever it is read or written."""
    return {end.dtype for layer in layers for end in (*layer.inputs, *layer.outputs) if end.name == name}


def check(built: Built, layers: tuple[Layer, ...], convolutions: int) -> None:
    """The engine's types are those of the graph: bytes at both ends, INT8 where there is Q/DQ and nowhere else."""
    assert (dtypes_of(FRAME, layers), dtypes_of(CLASS_MAP, layers)) == ({"uint8"}, {"uint8"})
    rest = built.engine.card.float_precision
    ran = built.engine.card.measured["execution"]["convolutions"]
    assert ran.get("int8", 0) == built.int8_convs
    # Convolutions of a few channels become part of a pointwise kernel, which is told as none.
    assert convolutions - 2 <= built.int8_convs + ran.get(rest, 0) <= convolutions
    assert set(ran) <= {"int8", rest}
    assert (built.not_int8, built.untold) == ((), ())


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name == DEFAULT_MODEL else pytest.mark.slow) for name in zoo_models()],
)
def shipped(request: pytest.FixtureRequest, backend: Backend) -> tuple[str, ir.Model]:
    return request.param, open_prepared(BuildRecipe(model=request.param))[1]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_shipped_model_is_built_in_float(
    precision: str, backend: Backend, shipped: tuple[str, ir.Model], note: Callable[[Row], None], tmp_path: Path
) -> None:
    name, prepared = shipped
    built, layers = build(backend, prepared, precision, None, tmp_path)
    note(row_of(name, built))
    check(built, layers, count_convs(prepared)[1])


@pytest.mark.parametrize("spare", [False, True], ids=["all", "depthwise in float"])
def test_a_shipped_model_is_built_in_int8(
    spare: bool, backend: Backend, shipped: tuple[str, ir.Model], note: Callable[[Row], None], tmp_path: Path
) -> None:
    name, prepared = shipped
    recipe = require_card(prepared).int8["s8-sym"]
    how = Quantization(recipe, load_ranges(ranges_beside(zoo_model(name))))
    built, layers = build(backend, prepared, "int8", how, tmp_path, spare)
    note(row_of(name, built))
    convolutions = count_convs(prepared)[1]
    check(built, layers, convolutions)
    kept = {"", *recipe.keep_float, *(depthwise_convs(prepared) if spare else ())}
    assert convolutions - built.int8_convs - len(built.not_int8) <= 1 + len(kept)
    assert built.engine.path.stat().st_size < 70e6


@pytest.fixture(scope="module")
def pairs(backend: Backend) -> dict[str, tuple[ir.Model, Any]]:
    """The prepared graph of each decoder on one narrow backbone, and its ranges."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from edgeseg.card import Card
    from edgeseg.graph.export import export_onnx
    from edgeseg.graph.prepare import prepare_graph
    from edgeseg.labels import voc_palette
    from edgeseg.quantize.measure import measure_ranges
    from tests.models.pairs import CLASSES, EveryDecoder, alone, quick_to_export, with_statistics
    from tests.models.pairs import DECODERS as NAMES
    from tests.quantize.tiny import frames

    torch.manual_seed(0)
    name = "efficientnet-lite0"
    card = Card(kind="graph", model=name, classes=CLASSES, palette=voc_palette(len(CLASSES)))
    together = export_onnx(quick_to_export(with_statistics(EveryDecoder(name))), card)
    found: dict[str, tuple[ir.Model, Any]] = {}
    for index, decoder in enumerate(NAMES):
        prepared = prepare_graph(alone(together, index), card, size_hw=(64, 96))
        shown = frames(2, size_hw=(64, 96))
        found[decoder] = prepared, measure_ranges(prepared, shown, calibration_sha256="c" * 64, threads=1)
    assert set(found) == set(DECODERS)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_pair_of_every_decoder_is_built(
    decoder: str,
    precision: str,
    backend: Backend,
    pairs: dict[str, tuple[ir.Model, Any]],
    note: Callable[[Row], None],
    tmp_path: Path,
) -> None:
    prepared, ranges = pairs[decoder]
    how = Quantization(Int8Recipe(), ranges) if precision == "int8" else None
    built, layers = build(backend, prepared, precision, how, tmp_path)
    note(row_of(f"{decoder}-efficientnet-lite0, narrow", built))
    check(built, layers, count_convs(prepared)[1])


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_pair_of_every_decoder_takes_several_frames(
    decoder: str,
    backend: Backend,
    pairs: dict[str, tuple[ir.Model, Any]],
    note: Callable[[Row], None],
    tmp_path: Path,
) -> None:
    prepared, ranges = pairs[decoder]
    verify_batch(prepared, golden_frame(require_card(prepared)))
    candidate = Candidate(backend, "int8", "s8-sym", "candidate")
    recipe = BuildRecipe(tensorrt=TensorRtOptions(batch=(1, 2, 4)))
    how = Quantization(Int8Recipe(), ranges)
    built = build_candidate(candidate, MadeGraphs(prepared, "half"), how, recipe, tmp_path)
    note(row_of(f"{decoder}-efficientnet-lite0, narrow, 1 to 4 frames", built))
    check(built, read_layers(built.engine.path), count_convs(prepared)[1])
