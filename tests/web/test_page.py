"""The page, asked over HTTP while a stream runs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import msgspec
import numpy as np
import pytest

from edgeseg.errors import EdgesegError, UsageError
from edgeseg.labels import LabelSet
from edgeseg.stream.report import StreamReport
from edgeseg.web import PageSink
from tests.web.parts import (
    StillStreet,
    Street,
    aged,
    ask,
    decode,
    make_card,
    make_report,
    page,
    port_of,
    streaming,
    wait_until,
    watching,
)

TOKEN = "open-sesame-12"
HOSTILE = LabelSet(("<script>alert(1)</script>", '"><img src=x>'), ((200, 0, 0), (0, 0, 200)))


def test_the_page_stands_alone() -> None:
    with page() as sink:
        answer = ask(sink, "/")
    text = answer.body.decode()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "://" not in text
    assert "sha256-" in answer.headers["content-security-policy"]


def test_the_output_names_the_port_that_was_free() -> None:
    with page("web://127.0.0.1:0") as sink:
        assert sink.output.startswith("http://127.0.0.1:")
        assert not sink.output.endswith(":0/")


def test_the_state_is_the_report_and_the_engine() -> None:
    report = make_report()
    with page() as sink:
        sink.write(Street().frame(0, report))
        state = json.loads(ask(sink, "/state.json").body)
    assert msgspec.convert(state["report"], StreamReport) == report
    assert (state["schema"], state["state"], state["viewers"]) == ("edgeseg.state/1", "live", 0)
    assert (state["engine"]["model"], state["engine"]["sha256"]) == ("fastscnn-camvid", "3f" * 32)
    assert state["engine"]["classes"][4] == {"name": "pavement", "colour": "#3c28de"}


def test_numbers_that_do_not_exist_yet_are_null() -> None:
    report = make_report()
    report.frame_age_ms.p99 = float("nan")
    with page() as sink:
        before = json.loads(ask(sink, "/state.json").body)
        sink.idle(report)
        after = json.loads(ask(sink, "/state.json").body)
    assert (before["report"], before["age_ms"]) == (None, None)
    assert after["report"]["frame_age_ms"]["p99"] is None


def test_the_picture_streams() -> None:
    street = Street()
    with page() as sink, streaming(sink, street), watching(sink) as viewer:
        assert viewer.content_type == "multipart/x-mixed-replace; boundary=edgeseg-picture"
        parts = [viewer.part() for _ in range(5)]
    assert {state for state, _ in parts} == {"live"}
    assert {picture.shape for _, picture in parts} == {(120, 160, 3)}
    assert (parts[0][1] != parts[-1][1]).any()


def test_a_snapshot_is_the_overlay_of_a_frame() -> None:
    with page() as sink, streaming(sink, StillStreet()):
        answer = ask(sink, "/snapshot.jpg")
    picture, overlay = decode(answer.body).astype(float), StillStreet().frame(0).overlay
    assert (answer.headers["content-type"], answer.headers["x-edgeseg-state"]) == ("image/jpeg", "live")
    assert np.abs(picture - overlay).mean() < 8


def test_nothing_is_drawn_while_nobody_watches_and_once_for_all_who_do() -> None:
    street = Street()
    with page() as sink:
        for index in range(20):
            sink.write(street.frame(index))
        assert street.drawn == 0
        with streaming(sink, street), watching(sink) as one, watching(sink) as other:
            for _ in range(5):
                one.part()
                other.part()
            state = json.loads(ask(sink, "/state.json").body)
        assert state["viewers"] == 2
        drawn = street.drawn
        assert drawn >= 5
        assert wait_until(lambda: json.loads(ask(sink, "/state.json").body)["viewers"] == 0)
        sink.write(street.frame(0))
    assert street.drawn == drawn


@pytest.mark.parametrize(
    ("report", "state"),
    [
        pytest.param(make_report(state="stalled", reason="Opening it again."), "stalled", id="stalled"),
        pytest.param(make_report(state="lost", reason="Gone."), "lost", id="lost"),
        pytest.param(make_report(), "silent", id="silent, nobody knows why"),
    ],
)
def test_a_picture_that_is_not_live_is_dimmed_for_who_watches_and_for_who_comes(
    report: StreamReport, state: str
) -> None:
    with page() as sink, watching(sink) as viewer:
        with streaming(sink, Street()):
            while viewer.part()[0] != "live":
                pass
            _, bright = viewer.part()
        sink.idle(report)
        while (part := viewer.part())[0] == "live":
            pass
        late = ask(sink, "/snapshot.jpg")
    assert part[0] == late.headers["x-edgeseg-state"] == state
    for dimmed in (part[1], decode(late.body)):
        assert dimmed.mean() < 0.7 * bright.mean()
        assert dimmed.shape == bright.shape


def test_a_stream_that_hangs_without_a_word_does_not_look_live() -> None:
    with page("web://127.0.0.1:0?max_age_ms=150") as sink:
        sink.write(Street().frame(0))
        assert wait_until(lambda: json.loads(ask(sink, "/state.json").body)["state"] == "silent")
        assert ask(sink, "/snapshot.jpg").headers["x-edgeseg-state"] == "silent"


def test_before_the_first_frame_the_picture_says_so() -> None:
    with page() as sink:
        answer = ask(sink, "/snapshot.jpg")
    assert answer.headers["x-edgeseg-state"] == "connecting"
    assert decode(answer.body).std() > 5


@pytest.mark.parametrize(
    ("age_s", "status", "says"),
    [
        pytest.param(0.0, 200, "ms old", id="a fresh frame"),
        pytest.param(9.0, 503, "The newest frame is 9", id="a frame that is too old"),
        pytest.param(None, 503, "connecting: No frame has come yet.", id="no frame"),
    ],
)
def test_it_is_ready_while_the_newest_frame_is_young(age_s: float | None, status: int, says: str) -> None:
    with page("web://127.0.0.1:0?max_age_ms=5000") as sink:
        if age_s is not None:
            sink.write(aged(Street().frame(0), age_s))
        answer = ask(sink, "/readyz")
    assert (answer.status, says in answer.body.decode()) == (status, True)


def test_it_is_healthy_until_the_stream_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    with page() as sink:
        assert ask(sink, "/healthz").status == 200
        sink.idle(make_report(state="stalled"))
        assert ask(sink, "/healthz").status == 200
        monkeypatch.setattr("edgeseg.web.monitor.TOLD_S", 0.01)
        time.sleep(0.02)
        answer = ask(sink, "/healthz")
    assert (answer.status, b"hung" in answer.body) == (503, True)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        pytest.param("/state.json", {}, 401, id="no token"),
        pytest.param("/state.json?token=wrong-sesame-1", {}, 401, id="a wrong token"),
        pytest.param("/state.json?token=op%FFen", {}, 401, id="a token that is no text"),
        pytest.param("/", {}, 401, id="the page itself"),
        pytest.param("/healthz", {}, 401, id="health"),
        pytest.param("/nothing", {}, 401, id="what is there is not told either"),
        pytest.param(f"/state.json?token={TOKEN}", {}, 200, id="in the address"),
        pytest.param("/state.json", {"Authorization": f"Bearer {TOKEN}"}, 200, id="as a bearer's"),
        pytest.param("/state.json", {"Authorization": "Bearer wrong-sesame-1"}, 401, id="a wrong bearer's"),
        pytest.param(f"/state.json?token={TOKEN}", {"Host": "evil.example"}, 403, id="right, by a foreign name"),
    ],
)
def test_an_open_page_asks_for_its_token(path: str, headers: dict[str, str], status: int) -> None:
    with page(f"web://0.0.0.0:0?token={TOKEN}") as sink:
        answer = ask(sink, path, headers)
        assert TOKEN not in sink.output
    assert answer.status == status
    assert TOKEN.encode() not in answer.body


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        pytest.param("GET", "/", {"Host": "evil.example:8080"}, 403, id="a foreign name that was pointed here"),
        pytest.param("GET", "/../../etc/passwd", {}, 404, id="a path upwards"),
        pytest.param("GET", "/%2e%2e/%2e%2e/etc/passwd", {}, 404, id="a path upwards, hidden"),
        pytest.param("GET", "/page.html", {}, 404, id="a file of the package"),
        pytest.param("POST", "/state.json", {"Content-Length": "0"}, 405, id="another method"),
        pytest.param("OPTIONS", "/state.json", {"Origin": "https://evil.example"}, 405, id="a question for sharing"),
        pytest.param("GET", "/state.json", {"Content-Length": "1000000000"}, 413, id="a body"),
        pytest.param("GET", "/" + "a" * 9000, {}, 400, id="a line that is too long"),
        pytest.param("GET", "/", {"X-Long": "a" * 20000}, 400, id="a header that is too long"),
        pytest.param("HEAD", "/healthz", {}, 200, id="a head alone"),
        pytest.param("HEAD", "/stream.mjpg", {}, 405, id="the head of what has no end"),
    ],
)
def test_what_does_not_belong_is_refused(method: str, path: str, headers: dict[str, str], status: int) -> None:
    with page() as sink:
        answer = ask(sink, path, headers, method)
        assert ask(sink, "/healthz").status == 200
    assert answer.status == status
    assert b"Traceback" not in answer.body
    assert b"root:" not in answer.body


@pytest.mark.parametrize("path", ["/", "/state.json", "/metrics", "/healthz", "/readyz", "/snapshot.jpg", "/nothing"])
def test_every_answer_keeps_browsers_from_sharing_it(path: str) -> None:
    with page() as sink:
        headers = ask(sink, path, {"Origin": "https://evil.example"}).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["server"] == "edgeseg"
    assert not [name for name in headers if name.startswith("access-control")]


def test_hostile_names_stay_text() -> None:
    """The page's own text holds no names, and where they are they are no page."""
    with page(card=make_card(HOSTILE, model="<b>model")) as sink:
        sink.write(Street(labels=HOSTILE).frame(0, make_report("<script>alert(2)</script>")))
        text, state = ask(sink, "/"), ask(sink, "/state.json")
        metrics = ask(sink, "/metrics", {"Accept": "text/html"})
    assert b"alert" not in text.body
    assert json.loads(state.body)["engine"]["classes"][0]["name"] == HOSTILE.names[0]
    assert state.headers["content-type"].startswith("application/json")
    assert metrics.headers["content-type"].startswith("text/plain")


def test_a_port_in_use_is_said_and_not_left() -> None:
    with page() as sink:
        port = port_of(sink)
        with pytest.raises(EdgesegError, match=f"port {port} of 127.0.0.1") as caught:
            PageSink(f"web://127.0.0.1:{port}", make_card())
    assert caught.value.hint == f"Type web://127.0.0.1:{port + 1}"


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UsageError, match=r"can't be served on 192\.0\.2\.1"):
        PageSink(f"web://192.0.2.1:0?token={TOKEN}", make_card())


def test_a_page_that_is_closed_leaves_nothing() -> None:
    with page() as sink, streaming(sink, Street()), watching(sink) as viewer:
        viewer.part()
    sink.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("edgeseg-page")] == []
    with page(sink.output.replace("http", "web")) as again:
        assert again.output == sink.output


def test_a_missing_package_is_named() -> None:
    code = (
        "import sys\n"
        "from edgeseg.errors import MissingDependency\n"
        "from edgeseg.web import PageSink\n"
        "for package in ('prometheus_client', 'aiohttp'):\n"
        "    sys.modules[package] = None\n"
        "    try: PageSink('web://127.0.0.1:0', None)\n"
        "    except MissingDependency as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for package in ("prometheus_client", "aiohttp"):
        assert f"needs the package {package}" in done.stdout
    assert done.stdout.count("pip install 'edgeseg[web]'") == 2


@pytest.mark.parametrize("uri", ["web://127.0.0.1:0", "web://:0", "web://localhost:0", "web://[::1]:0"])
def test_the_output_can_be_opened(uri: str) -> None:
    if "::1" in uri and not _has_ipv6():
        pytest.skip("This machine has no IPv6.")
    with page(uri) as sink, urllib.request.urlopen(f"{sink.output}healthz") as answer:
        assert answer.read() == b"The stream runs.\n"


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
