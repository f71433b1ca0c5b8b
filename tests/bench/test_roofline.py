"""Rooflines: ceilings of this machine, what each step of a library belongs to, and what the report says of it."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("jinja2")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("psutil")

from edgeseg.backends import Engine
from edgeseg.backends.kernels import Kernel
from edgeseg.bench import Benchmark, Settings, run_benchmark
from edgeseg.bench.markdown import columns, markdown, row
from edgeseg.bench.page import html
from edgeseg.bench.roofline import ceilings as ceilings_module
from edgeseg.bench.roofline import measure
from edgeseg.bench.roofline.add import add_rooflines
from edgeseg.bench.roofline.attribute import layers_of
from edgeseg.bench.roofline.bandwidth import bandwidths
from edgeseg.bench.roofline.ceilings import measure_ceilings
from edgeseg.bench.roofline.structs import COLUMNS, Ceilings
from edgeseg.bench.roofline.synthetic import Shape, build_network, network, noise_ranges
from edgeseg.bench.roofline.words import held_back_rows, percent, sentences
from edgeseg.errors import EdgesegError
from edgeseg.graph.attach import attach_head_and_tail
from edgeseg.graph.cost import count_macs
from edgeseg.graph.io import load_graph
from tests.engines import installed, tiny_engine, tiny_model

LIBRARIES = ("onnxruntime", "openvino")
QUICK = Settings(warm_up_s=0, duration_s=0, iterations=24, percentiles=(50,), camera_hw=(64, 96))
#: Easy to reckon with: a multiply-add is a nanosecond in float and half of one in INT8.
ROUND = Ceilings(
    library="a library",
    threads=1,
    macs_per_s={"fp32": 1e9, "int8": 2e9},
    bytes_per_s={1_000: 4e9, 100_000: 8e9, 10_000_000: 1e9},
    others=0.0,
)


@pytest.fixture(scope="module")
def quick_ceilings() -> None:
    """Ceilings of one small network each, which are measured as all are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ceilings_module, "SHAPES", {"cpu": (Shape(3, 16, (16, 16), 2),)})
        patch.setattr(ceilings_module, "LARGEST_MAP", 1)
        patch.setattr(ceilings_module, "PATIENCE_S", 0.02)
        patch.setattr(ceilings_module, "_MEASURED", {})
        yield


def engine_of(folder: Path, name: str, dialect: str) -> Engine:
    """An engine of the tiny graph, in float or in the library's first dialect of INT8."""
    model = tiny_model((64, 96))
    return build_network(model, installed(name), "fp32", folder, noise_ranges(model) if dialect == "int8" else None)


@pytest.mark.parametrize(
    ("macs", "size", "precision", "expected"),
    [
        pytest.param(3_000_000, 1_000, "fp32", (3.0, "compute"), id="many multiply-adds"),
        pytest.param(3_000_000, 1_000, "int8", (1.5, "compute"), id="the same in INT8"),
        pytest.param(0, 8_000, "fp32", (0.001, "memory"), id="bytes that the fastest copy held"),
        pytest.param(0, 80_000_000, "fp32", (80.0, "memory"), id="bytes far beyond all copies"),
        pytest.param(0, 1_000_000, "int8", (1.0, "memory"), id="bytes between two copies are as slow as the larger"),
    ],
)
def test_a_layer_is_bound_by_what_takes_longer(
    macs: int, size: int, precision: str, expected: tuple[float, str]
) -> None:
    assert ROUND.bound_ms(macs, size, precision) == (pytest.approx(expected[0]), expected[1])


def test_copies_are_measured_from_caches_to_far_beyond() -> None:
    found = bandwidths(2)
    assert min(found) == 1 << 20 and max(found) >= 64 << 20 and list(found) == sorted(found)
    assert all(1e8 < rate < 1e13 for rate in found.values())


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("dialect", ["float", "int8"])
def test_a_library_computes_all_of_a_synthetic_network(name: str, dialect: str, tmp_path: Path) -> None:
    backend, shape = installed(name), Shape(3, 16, (64, 96), 3)
    model = network(shape)
    assert count_macs(model, shape.size_hw) == 64 * 96 * (3 * 16 + 3 * 16 * 16 * 9 + 16 * 2)
    ranges = noise_ranges(model) if dialect == "int8" else None
    kernels = backend.profile(build_network(model, backend, "fp32", tmp_path, ranges))
    convs = [one for one in kernels if one.kind in ("Conv", "QLinearConv", "Convolution")]
    assert len(convs) == 5 and all(one.ms > 0 for one in convs)
    assert sum(one.precision == "int8" for one in convs) >= (3 if dialect == "int8" else 0)


@pytest.mark.parametrize("name", LIBRARIES)
def test_ceilings_are_measured_once(name: str, quick_ceilings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(name)
    shares: list[float] = []
    found = measure_ceilings(name, "cpu", "fp32", lambda share, _: shares.append(share))
    assert set(found.macs_per_s) == {"fp32", "int8"} and all(1e6 < rate < 1e15 for rate in found.macs_per_s.values())
    assert found.library.startswith(name) and found.memory <= found.caches
    assert shares == sorted(shares)
    monkeypatch.setattr(ceilings_module, "build_network", None)
    assert measure_ceilings(name, "cpu", "fp32") == found


@pytest.mark.parametrize(
    ("best_ms", "side", "expected"),
    [
        pytest.param(3.0, 32, 0, id="it takes long enough"),
        pytest.param(1.9, 32, 1, id="nearly so"),
        pytest.param(2 / 17, 32, 3, id="a sixteenth would need two, and a little less one more"),
        pytest.param(0.001, 128, 2, id="as far as the maps may grow"),
        pytest.param(0.001, 2048, 0, id="they are too large already"),
    ],
)
def test_maps_are_doubled_until_a_run_takes_long_enough(
    best_ms: float, side: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceilings_module, "LEAST_MS", 2.0)
    monkeypatch.setattr(ceilings_module, "LARGEST_MAP", 1 << 26)
    assert ceilings_module._doublings(Shape(3, 128, (side, side), 1), best_ms) == expected


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("dialect", ["float", "int8"])
def test_every_layer_that_multiplies_gets_its_time(name: str, dialect: str, tmp_path: Path) -> None:
    engine = engine_of(tmp_path, name, dialect)
    kernels, graph = installed(name).profile(engine), load_graph(engine.path)
    layers = layers_of(graph, kernels, ROUND, "fp32")
    assert sum(one.macs for one in layers) == count_macs(tiny_model((64, 96)), (64, 96))
    # OpenVINO tells nothing of the layer behind the pooling, which reads one pixel, where it takes under a microsecond.
    multiply = [one for one in layers if one.macs > (1000 if name == "openvino" else 0)]
    assert len(multiply) >= 9 and all(one.measured_ms is not None for one in multiply)
    assert sum(one.measured_ms or 0 for one in layers) == pytest.approx(sum(one.ms for one in kernels))
    assert {one.ran_in for one in multiply} <= {"fp32", "int8"}
    ran = {one.ran_in for one in layers if one.precision == "int8" and one.macs}
    assert "int8" in ran if dialect == "int8" else ran == set()


def kernel(kind: str, ms: float, *names: str) -> Kernel:
    return Kernel(kind, names, "fp32", ms)


def test_a_step_of_several_layers_goes_to_the_first_that_multiplies() -> None:
    graph = attach_head_and_tail(tiny_model(), head="cast", tail="channels_last", upsample="half")
    layers = layers_of(graph, [kernel("CaskConvolution", 1.0, "edgeseg.head.cast", "n0", "n1")], ROUND, "fp32")
    assert {one.name: one.measured_ms for one in layers if one.measured_ms is not None} == {"n0": 1.0}


def test_steps_go_to_their_layers_and_what_is_left_stands_apart() -> None:
    graph = attach_head_and_tail(tiny_model(), head="cast", tail="channels_last", upsample="half")
    layers = layers_of(
        graph,
        [
            kernel("Convolution", 1.0, "n0/WithoutBiases", "n0", "n1"),
            kernel("Reorder", 0.25, ""),
            kernel("Reorder", 0.5, "n1"),
            kernel("Convolution", 2.0, "n4", "n6"),
            kernel("TopK", 0.125, "TopK_77"),
        ],
        ROUND,
        "fp32",
    )
    named = {one.name: one for one in layers}
    assert named["n0"].measured_ms == 1.5 and named["Reorder"].measured_ms == 0.25
    assert (named["Reorder"].bound_ms, named["Reorder"].macs, named["Reorder"].share) == (0, 0, 0)
    assert named["edgeseg.tail.argmax"].measured_ms == 0.125
    assert "n6" not in named, "it is computed with n4"
    assert named["n4"].measured_ms == 2.0 and named["n4"].macs == 8 * 12 * (16 * 32 + 32 * 9)
    assert named["n8"].measured_ms is None and named["n8"].share is None


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, quick_ceilings: None) -> Benchmark:
    """Engines with a roofline, and one without."""
    folder = tmp_path_factory.mktemp("engines")
    engines = {name: engine_of(folder, name, "int8") for name in LIBRARIES[:1]}
    engines |= {"<float> & more": engine_of(folder, "onnxruntime", "float"), "fake": tiny_engine(folder, "fake")}
    return add_rooflines(run_benchmark(engines, QUICK), engines)


def test_the_record_says_what_share_is_reached_and_what_holds_back(done: Benchmark) -> None:
    for index, one in enumerate(done.record.engines[:2]):
        found = one.roofline
        assert found is not None and one.roofline_note == ""
        columns = {name: done.samples[f"{index}.roofline.{name}"] for name in COLUMNS}
        assert {len(column) for column in columns.values()} == {found.layers}
        assert found.macs == columns["macs"].sum() and found.bytes == columns["bytes"].sum()
        assert found.bound_ms == pytest.approx(columns["bound_ms"].sum())
        assert found.inference_ms == np.median(done.samples[f"{index}.inference_ms"])
        assert found.share == found.bound_ms / found.inference_ms
        lost = [layer.lost_ms for layer in found.held_back_by]
        assert lost == sorted(lost, reverse=True) and lost[-1] > 0 and len(lost) <= 10
        assert lost[0] == pytest.approx(np.nanmax(columns["measured_ms"] - columns["bound_ms"]))
        assert found.above == np.nansum(columns["bound_ms"] / columns["measured_ms"] > 1.05)


def test_an_engine_without_a_roofline_says_why(done: Benchmark) -> None:
    fake = done.record.engines[2]
    assert fake.roofline is None and "fake" in fake.roofline_note
    for text in (markdown(done.record), html([(done.record, done.samples)])):
        assert f"There is no roofline: {fake.roofline_note}" in text


def cells(text: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", one, re.DOTALL)] for one in rows]


def test_the_page_and_the_markdown_have_the_figures_of_the_record(done: Benchmark) -> None:
    page, plain = html([(done.record, done.samples)]), markdown(done.record)
    shown = cells(page)
    for one in done.record.engines[:2]:
        assert one.roofline is not None
        rows = held_back_rows(one.roofline)
        for cell, layer in zip(rows, one.roofline.held_back_by, strict=True):
            assert (cell[0], cell[3], cell[4]) == (layer.name, f"{layer.measured_ms:.3f}", f"{layer.bound_ms:.3f}")
        assert all(cells in shown for cells in rows) and all(f"| {' | '.join(cells)} |" in plain for cells in rows)
        assert all(words in unescape(page) and words in plain for words in sentences(one.roofline, ""))
        assert f"{one.roofline.bound_ms:.2f} ms" in plain
        figures = dict(zip(columns(done.record), row(done.record, one), strict=True))
        assert figures["of the ceiling"] == percent(one.roofline.share)


def test_the_chart_has_one_point_for_each_layer_that_multiplies(done: Benchmark) -> None:
    page = html([(done.record, done.samples)])
    charts = [svg for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if 'aria-label="Roofline"' in svg]
    assert len(charts) == 2
    for index, svg in enumerate(charts):
        names, macs = (done.samples[f"{index}.roofline.{column}"] for column in ("name", "macs"))
        points = re.findall(r'<circle class="point f(\d)" cx="([\d.]+)" cy="([\d.]+)".*?<title>(.*?),', svg)
        assert sorted(unescape(name) for *_, name in points) == sorted(names[macs > 0].tolist())
        assert svg.count('class="ring"') == 1
        width, height = (float(side) for side in re.findall(r'viewBox="0 0 (\d+) (\d+)"', svg)[0])
        assert all(0 < float(x) < width and 0 < float(y) < height for _, x, y, _ in points)
        assert {colour for colour, *_ in points} == ({"0", "1"} if index == 0 else {"1"}), "INT8 and float"


@pytest.mark.parametrize(
    ("above", "others", "said"),
    [
        pytest.param(0, 0.1, "", id="nothing is wrong"),
        pytest.param(3, 0.1, "3 were faster than these ceilings", id="layers beyond their ceilings"),
        pytest.param(0, 1.5, "kept 1.5 cores busy", id="others were busy"),
    ],
)
def test_what_makes_the_ceilings_doubtful_is_told(done: Benchmark, above: int, others: float, said: str) -> None:
    found = done.record.engines[0].roofline
    assert found is not None
    ceilings = msgspec.structs.replace(found.ceilings, others=others)
    words = " ".join(sentences(msgspec.structs.replace(found, above=above, ceilings=ceilings), ""))
    assert said in words
    assert ("were faster" in words, "cores busy" in words) == (above > 0, others > 1)


@pytest.mark.parametrize(
    ("error", "notes"),
    [
        pytest.param(EdgesegError("it refuses"), ["it refuses", "it refuses"], id="a library that refuses"),
        pytest.param(KeyError("node_index"), ["KeyError: 'node_index'"] * 2, id="a profile of another kind"),
        pytest.param(KeyboardInterrupt(), ["It was stopped before."] * 2, id="Ctrl-C"),
    ],
)
def test_nothing_makes_the_benchmark_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, notes: list[str]
) -> None:
    engine = tiny_engine(tmp_path)

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(measure, "measure_ceilings", fails)
    before = run_benchmark({"a": engine, "b": engine}, QUICK)
    after = add_rooflines(before, {"a": engine, "b": engine})
    assert [one.roofline_note for one in after.record.engines] == notes
    assert [one.latency for one in after.record.engines] == [one.latency for one in before.record.engines]
    assert set(after.samples) == set(before.samples)


def test_a_benchmark_that_was_stopped_is_left_as_it_is(done: Benchmark) -> None:
    stopped = Benchmark(msgspec.structs.replace(done.record, complete=False), done.samples)
    assert add_rooflines(stopped, {}) is stopped
