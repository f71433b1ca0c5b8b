"""A benchmark's page: its numbers, what it needs from elsewhere, and how it looks in a browser."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("jinja2")
pytest.importorskip("onnx_ir")
pytest.importorskip("psutil")

from edgeseg.bench import Benchmark, Record, Settings, run_benchmark
from edgeseg.bench.markdown import row, stage_rows
from edgeseg.bench.page import html
from edgeseg.bench.roofline.add import add_rooflines
from tests.engines import tiny_engine

HOSTILE = "<script>document.title='run'</script>\"'& <b>"
#: Pixels; paper is A4 within its margins.
DESK, PHONE, PAPER = (1280, 900), (390, 844), (688, 1016)
LONG = HOSTILE + "runs/engines/street/liteseg-efficientnet-lite0-camvid-360x480-int8-u8-asym-reduced-openvino"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    folder = tmp_path_factory.mktemp("engines")
    engines = {HOSTILE: tiny_engine(folder, "fake"), "onnxruntime": tiny_engine(folder)}
    settings = Settings(warm_up_s=0, duration_s=0.3, iterations=200, camera_hw=(64, 96))
    return add_rooflines(run_benchmark(engines, settings), engines)


@pytest.fixture(scope="module")
def text(done: Benchmark) -> str:
    return html([(done.record, done.samples)])


def cells(text: str) -> list[list[str]]:
    """Of every table's rows."""
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", one, re.DOTALL)] for one in rows]


def test_its_numbers_are_those_of_the_record(done: Benchmark, text: str) -> None:
    shown = cells(text)
    for engine in done.record.engines:
        assert row(done.record, engine) in shown
        assert engine.latency is not None
        assert f"{engine.fps:.1f}" in row(done.record, engine)
        assert any(f"{engine.latency.percentiles_ms['50']:.2f} (" in cell for cell in row(done.record, engine))
    assert all(cells in shown for cells in stage_rows(done.record)[1:])
    assert done.record.command in unescape(text)


def test_it_needs_nothing_from_elsewhere(text: str) -> None:
    assert not re.search(r"(src|href|url|@import)\s*[=(]", text)
    assert "<script" not in text and "default-src 'none'" in text
    assert len(text) < 300_000


def test_a_record_without_any_sample_has_a_page_too(done: Benchmark) -> None:
    failed = tuple(
        msgspec.structs.replace(one, latency=None, stages={}, failed="it is gone") for one in done.record.engines
    )
    text = html([(msgspec.structs.replace(done.record, engines=failed), {})])
    assert "it is gone" in text and "n/a" in text and "Medians by stage" not in text


@pytest.mark.parametrize("count", [1, 2])
def test_few_samples_make_no_empty_chart(count: int, done: Benchmark) -> None:
    text = html([(done.record, {name: values[:count] for name, values in done.samples.items()})])
    paths = re.findall(r'<path class="line [^"]*" d="([^"]*)"', text)
    assert "<svg" in text
    assert all(" L" in path for path in paths), "a line has two ends"


def test_charts_hold_numbers_alone(text: str) -> None:
    for path in re.findall(r' d="([^"]*)"', text):
        assert re.fullmatch(r"[ML\d. -]*", path), path[:80]
    assert "nan" not in " ".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL)).lower()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "media", "seen"),
    [
        pytest.param(DESK, "screen", ".facts :is(th, td)", id="a desk"),
        pytest.param(PHONE, "screen", ".facts :is(th, td)", id="a phone"),
        pytest.param(PAPER, "print", ":is(th, td)", id="paper"),
    ],
)
def test_it_fits_and_asks_for_nothing(
    size: tuple[int, int], media: str, seen: str, done: Benchmark, tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp")
    from tests.web.browser import CHROMIUM, open_tab

    if CHROMIUM is None:
        pytest.skip("There is no Chromium on this machine.")
    engines = [msgspec.structs.replace(one, name=f"{LONG}-{index}") for index, one in enumerate(done.record.engines)]
    record = msgspec.structs.replace(done.record, engines=tuple(engines))
    (tmp_path / "bench.html").write_text(html([(record, done.samples)]))

    async def look() -> dict[str, Any]:
        async with open_tab((tmp_path / "bench.html").as_uri(), size, tmp_path) as tab:
            await tab.call("Emulation.setEmulatedMedia", media=media)
            await tab.until("document.querySelectorAll('svg').length >= 5")
            picture = await tab.screenshot()
            return {
                "asked": await tab.evaluate("performance.getEntriesByType('resource').length"),
                "fits": await tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth"),
                "hidden": await tab.evaluate(
                    f"[...document.querySelectorAll('{seen}')].filter("
                    "cell => !(cell.getBoundingClientRect().right <= window.innerWidth)).length"
                ),
                "title": await tab.evaluate("document.title"),
                "smallest": await tab.evaluate(
                    "Math.min(...[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height))"
                ),
                "seen": float(np.std(picture)),
            }

    found = asyncio.run(look())
    assert found["asked"] == found["hidden"] == 0 and found["fits"] and found["title"].startswith("Benchmark")
    assert found["smallest"] >= 8 and found["seen"] > 10


def judged(record: Record, *accuracies: dict[str, Any]) -> Record:
    """The record with what builds found out about each of its engines; none has the hostile name."""
    engines = (
        msgspec.structs.replace(one, accuracy=told, name=f"{one.backend}.onnx")
        for one, told in zip(record.engines, accuracies, strict=True)
    )
    return msgspec.structs.replace(record, engines=tuple(engines))


GOOD, BETTER = ({"kind": "labels", "frames": 9, "miou": miou} for miou in (0.70, 0.71))


def test_engines_that_were_judged_on_as_many_labels_are_drawn_against_their_latency(done: Benchmark) -> None:
    record = judged(done.record, GOOD, BETTER)
    text = html([(record, done.samples)])
    (chart,) = re.findall(r'<svg[^>]*aria-label="Accuracy against latency">.*?</svg>', text, re.DOTALL)
    places = {}
    for engine in record.engines:
        assert engine.latency is not None
        told = f"{engine.latency.percentiles_ms['50']:.2f} ms, mIoU {100 * engine.accuracy['miou']:.2f}"
        (place,) = re.findall(rf'cx="([\d.]+)" cy="([\d.]+)" r="5"><title>{re.escape(engine.name)}: {told}', chart)
        places[engine.backend] = tuple(map(float, place))
    fake, real = places["fake"], places["onnxruntime"]
    assert fake[1] > real[1], "more accurate is higher"
    (path,) = re.findall(r'<path class="line s6" d="M([^"]*)"', chart)
    corners = [tuple(map(float, one.split())) for one in path.split(" L")]
    assert corners[0] in places.values() and corners[-1][1] == min(y for _, y in places.values())
    assert "on 9 labelled frames each" in text
    assert {"tiny", "32x48 half fp32 fake", "32x48 half fp32 onnxruntime"} <= set(re.findall(r">([^<]*)</text>", chart))


@pytest.mark.parametrize(
    "accuracies",
    [
        pytest.param(({}, {}), id="never judged"),
        pytest.param((GOOD, {}), id="one alone"),
        pytest.param((GOOD, {**BETTER, "frames": 8}), id="on other numbers of frames"),
        pytest.param((GOOD, {"kind": "agreement", "frames": 9, "agreement": 0.99}), id="agreement is no accuracy"),
    ],
)
def test_what_can_not_be_compared_is_not_drawn(accuracies: tuple[dict[str, Any], ...], done: Benchmark) -> None:
    assert "Accuracy against latency" not in html([(judged(done.record, *accuracies), done.samples)])
