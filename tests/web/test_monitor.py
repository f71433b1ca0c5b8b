"""Nothing that is old looks live."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from edgeseg.stream.report import StreamReport
from edgeseg.web.monitor import Monitor
from tests.web.parts import Street, aged, make_report

LIVE = make_report()


@pytest.mark.parametrize(
    ("report", "idle", "state", "says"),
    [
        pytest.param(LIVE, None, "live", "", id="a frame has just come"),
        pytest.param(make_report(frozen=True), None, "frozen", "same picture", id="the same picture keeps coming"),
        pytest.param(make_report(state="stalled"), None, "live", "", id="a frame came and the report is from before"),
        pytest.param(LIVE, make_report(state="stalled", reason="It hangs."), "stalled", "It hangs.", id="stalled"),
        pytest.param(LIVE, make_report(state="lost", reason="Gone."), "lost", "Gone.", id="lost"),
        pytest.param(LIVE, LIVE, "silent", "No frame for", id="no frame comes and nobody knows why"),
    ],
)
def test_the_state_is_what_was_heard_last(
    report: StreamReport, idle: StreamReport | None, state: str, says: str
) -> None:
    monitor = Monitor(60_000)
    monitor.wrote(Street().frame(0).captured, report)
    if idle is not None:
        monitor.waited(idle)
    standing = monitor.standing()
    assert (standing.state, standing.live) == (state, state == "live")
    assert says in standing.reason
    assert standing.age_ms is not None


def test_before_the_first_frame_it_connects() -> None:
    monitor = Monitor(1000)
    assert (monitor.standing().state, monitor.standing().age_ms, monitor.quiet_s) == ("connecting", None, 0)


def test_a_stream_that_hangs_and_tells_nothing_is_not_live() -> None:
    monitor = Monitor(20)
    monitor.wrote(Street().frame(0).captured, LIVE)
    time.sleep(0.03)
    assert monitor.standing().state == "silent"


def test_a_frame_after_a_stall_makes_it_live_again() -> None:
    monitor = Monitor(60_000)
    monitor.waited(make_report(state="stalled"))
    assert monitor.standing().state == "stalled"
    monitor.wrote(Street().frame(0).captured, make_report(state="stalled"))
    assert monitor.standing().live


def test_the_age_is_counted_from_the_capture() -> None:
    monitor = Monitor(60_000)
    monitor.wrote(aged(Street().frame(0), 5).captured, LIVE)
    age_ms = monitor.standing().age_ms
    assert age_ms is not None
    assert age_ms >= 5000


def test_of_several_sources_that_of_the_picture_counts_and_then_the_one_in_trouble() -> None:
    left, right = make_report("left").sources[0], make_report("right", state="lost", reason="Gone.").sources[0]
    both = make_report()
    both.sources = [left, right]
    monitor = Monitor(60_000)
    monitor.wrote(replace(Street().frame(0).captured, source="left"), both)
    assert monitor.standing().state == "live"
    monitor.waited(both)
    assert monitor.standing().state == "lost"
