"""The page in a real browser: what it shows is looked at as a picture."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeseg.labels import LabelSet
from edgeseg.stream.report import StreamReport
from edgeseg.web import PageSink
from tests.web.browser import CHROMIUM, open_tab
from tests.web.parts import Street, ask, make_card, make_report, page, streaming

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="There is no Chromium on this machine."),
]
MAGENTA = LabelSet(("everything",), ((255, 0, 255),))
DESK, PHONE = (1280, 900), (390, 844)
SEEN = "document.getElementById('picture').naturalWidth > 0"
STATE = "document.getElementById('state').textContent"
SCRIPT, IMAGE = "<script>document.title='run'</script>", "<img src=x onerror=document.title='run'>"
FIGURES = (
    "29.7", "31 ms", "45 ms", "61 ms", "inference 14.0 ms", "replaced by newer ones 52", "damaged 3", "too old 5",
    "2 stalls", "1 reconnect", "clock: driver", "openvino", "int8", "bicyclist",
)  # fmt: skip


def share_of_magenta(picture: npt.NDArray[np.int64]) -> float:
    blue, green, red = np.moveaxis(picture, 2, 0)
    return float(((red - green > 60) & (blue - green > 60)).mean())


@contextlib.contextmanager
def idling(sink: PageSink, report: StreamReport) -> Iterator[None]:
    """No frames come, and the stream says so a few times a second."""
    ended = threading.Event()

    def idle() -> None:
        while not ended.wait(0.2):
            sink.idle(report)

    thread = threading.Thread(target=idle)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("size", [pytest.param(DESK, id="a desk"), pytest.param(PHONE, id="a phone")])
def test_the_page_shows_the_picture_while_it_is_live_and_dims_it_after(size: tuple[int, int], tmp_path: Path) -> None:
    async def look(sink: PageSink) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], bool]:
        async with open_tab(sink.output, size, tmp_path) as tab:
            with streaming(sink, Street((480, 640), MAGENTA)):
                await tab.until(f"{SEEN} && {STATE} === 'live'")
                live = await tab.look_for(lambda picture: share_of_magenta(picture) > 0.15)
            with idling(sink, make_report(state="stalled", reason="Opening it again.")):
                await tab.until(f"{STATE} === 'stalled'")
                stalled = await tab.look_for(lambda picture: share_of_magenta(picture) < 0.01)
            fits = await tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            return live, stalled, fits

    with page(card=make_card(MAGENTA)) as sink:
        live, stalled, fits = asyncio.run(look(sink))
    assert live.shape == stalled.shape == (size[1], size[0], 3)
    assert share_of_magenta(live) > 0.15
    assert share_of_magenta(stalled) < 0.01
    assert stalled.std() > 10
    assert fits


def test_the_page_shows_the_figures_of_the_report(tmp_path: Path) -> None:
    async def read(sink: PageSink) -> str:
        async with open_tab(sink.output, DESK, tmp_path) as tab:
            await tab.until(f"{STATE} === 'live' && document.getElementById('sources').textContent")
            return str(await tab.evaluate("document.body.innerText"))

    with page() as sink, streaming(sink, Street()):
        text = " ".join(asyncio.run(read(sink)).split())
    missing = [words for words in FIGURES if words not in text]
    assert missing == []


def test_the_token_of_the_address_is_carried_on(tmp_path: Path) -> None:
    async def look(sink: PageSink) -> None:
        async with open_tab(f"{sink.output}?token=open-sesame-12", DESK, tmp_path) as tab:
            await tab.until(f"{SEEN} && {STATE} === 'live'")

    with page("web://127.0.0.1:0?token=open-sesame-12") as sink, streaming(sink, Street()):
        asyncio.run(look(sink))
        assert ask(sink, "/").status == 401


def test_hostile_names_are_shown_as_they_are(tmp_path: Path) -> None:
    labels = LabelSet((SCRIPT, IMAGE), ((9, 9, 9), (90, 90, 90)))
    report = make_report(SCRIPT, reason="<b>bold</b>")

    async def read(sink: PageSink) -> tuple[str, str]:
        async with open_tab(sink.output, DESK, tmp_path) as tab:
            await tab.until(f"{STATE} === 'live' && document.getElementById('sources').textContent")
            return await tab.evaluate("document.body.innerText"), await tab.evaluate("document.title")

    with page(card=make_card(labels, model="<i>model</i>")) as sink, streaming(sink, Street(labels=labels), report):
        text, title = asyncio.run(read(sink))
    assert title.startswith("<i>model</i>")
    for name in (SCRIPT, IMAGE, "<b>bold</b>", "<i>model</i>"):
        assert name in text


def test_a_page_whose_server_is_gone_says_so_and_comes_back_with_it(tmp_path: Path) -> None:
    async def look(first: PageSink) -> None:
        async with open_tab(first.output, DESK, tmp_path) as tab:
            await tab.until(f"{SEEN} && {STATE} === 'live'")
            first.close()
            await tab.until(f"{STATE} === 'no answer'")
            assert await tab.evaluate("document.getElementById('figure').className") == "stale"
            assert await tab.evaluate("document.body.className") == "old"
            with page(first.output.replace("http", "web")) as again, streaming(again, Street()):
                await tab.until(f"{STATE} === 'live'")
                assert await tab.evaluate("document.getElementById('figure').className") == ""
                assert await tab.evaluate("document.body.className") == ""

    with page() as sink, streaming(sink, Street()):
        asyncio.run(look(sink))


def test_a_viewer_too_many_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeseg.web.routes.VIEWERS", 0)

    async def look(sink: PageSink) -> None:
        async with open_tab(sink.output, DESK, tmp_path) as tab:
            await tab.until("document.getElementById('notice').textContent.includes('only so many')")
            monkeypatch.setattr("edgeseg.web.routes.VIEWERS", 16)
            await tab.until(f"{SEEN} && document.getElementById('notice').textContent === ''")

    with page() as sink, streaming(sink, Street()):
        asyncio.run(look(sink))


def test_a_page_that_is_not_looked_at_costs_nothing(tmp_path: Path) -> None:
    async def look(sink: PageSink) -> None:
        async with open_tab(sink.output, DESK, tmp_path) as tab:
            await tab.until("document.getElementById('viewers').textContent === '1 viewer'")
            await tab.evaluate("Object.defineProperty(document, 'hidden', {value: true})")
            await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            await tab.until("document.getElementById('viewers').textContent === '0 viewers'")

    with page() as sink, streaming(sink, Street()):
        asyncio.run(look(sink))
