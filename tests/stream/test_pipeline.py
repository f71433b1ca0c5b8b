"""The stream from a source through a session into sinks."""

from __future__ import annotations

import dataclasses
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from edgeseg.card import Resize
from edgeseg.data.images import read_mask
from edgeseg.data.resize import resize_frame, restore_class_map
from edgeseg.errors import EdgesegError, SourceLost, UsageError
from edgeseg.labels import VOID
from edgeseg.stream import Captured, Patience, Segmented, Sink, Source, StreamReport, open_sink, open_source, run_stream
from edgeseg.stream.options import StreamOptions
from edgeseg.stream.overlay import Overlay
from edgeseg.stream.pipeline import Callbacks
from edgeseg.stream.roi import Roi
from edgeseg.stream.sinks.video import VideoSink
from edgeseg.stream.sources.several import Several
from tests.data.media import cut, street, write_images, write_video
from tests.stream.parts import LABELS, captured, make_session

SMALL = "synthetic://?width=48&height=36"


class Listed(Source):
    """A source that gives a list."""

    def __init__(self, frames: Iterable[Captured], *, live: bool = False) -> None:
        super().__init__()
        self.name, self.live, self.fps = "listed", live, 25.0
        self._frames = iter(frames)

    def read(self, out: np.ndarray | None = None) -> Captured | None:
        if self.live:
            time.sleep(0.02)
        frame = next(self._frames, None)
        # A camera's frame is as old as its reading.
        return frame and dataclasses.replace(frame, captured_ns=time.monotonic_ns(), source=self.name)


class Keep(Sink):
    """A sink that keeps copies."""

    def __init__(self, wants: Literal["overlay", "class_map"] = "class_map") -> None:
        self.wants = wants
        self.pictures: list[np.ndarray] = []
        self.numbers: list[int] = []
        self.closed = self.idled = 0
        self.on_write: Callable[[], None] = lambda: None

    def write(self, segmented: Segmented) -> None:
        self.on_write()
        self.numbers.append(segmented.captured.sequence)
        self.pictures.append(getattr(segmented, self.wants).copy())

    def idle(self, report: StreamReport) -> None:
        self.idled += 1

    def close(self) -> None:
        self.closed += 1


def counts(report: StreamReport) -> tuple[int, int, int]:
    dropped = report.dropped
    assert report.captured == report.inferred + dropped.newest + dropped.corrupt + dropped.stale + dropped.skipped
    return report.captured, report.inferred, report.shown


@pytest.mark.parametrize("mode", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("live", [False, True], ids=["file", "live"])
def test_class_maps_are_those_of_the_plain_way_in_the_frames_coordinates(
    mode: Literal["stretch", "letterbox", "crop"], live: bool
) -> None:
    resize = Resize(mode, "nearest")
    frames = [frame for size in ((36, 48), (30, 60)) for frame in street(4, size)]
    sink, overlays = Keep(), Keep("overlay")
    with make_session(resize=resize) as session:
        source = Listed([captured(i, frame.copy()) for i, frame in enumerate(frames)], live=live)
        report = run_stream(session, source, [sink, overlays], StreamOptions(opacity=0.3, hud=False))
    assert counts(report) == (8, 8, 8) and sink.numbers == list(range(8))
    overlay = Overlay(LABELS, 0.3)
    for frame, class_map, drawn in zip(frames, sink.pictures, overlays.pictures, strict=True):
        small = resize_frame(frame, (24, 32), resize)[..., 1] // 64
        plain = restore_class_map(small, frame.shape[:2], resize)
        assert np.array_equal(class_map, plain)
        assert (plain == VOID).any() == (mode == "crop" and frame.shape[:2] == (30, 60))
        assert np.array_equal(drawn, overlay.draw(frame, plain))


def test_buffers_of_pixels_are_used_again_only_when_done_with(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 12)
    sink, alone = Keep("overlay"), Keep("overlay")
    with make_session() as session:
        run_stream(session, open_source(str(tmp_path / "v.avi")), [sink])
        source = open_source(str(tmp_path / "v.avi"))
        fresh = [source.read() for _ in range(12)]
        run_stream(session, Listed([frame for frame in fresh if frame]), [alone])
    assert len(sink.pictures) == 12
    assert all(np.array_equal(a, b) for a, b in zip(sink.pictures, alone.pictures, strict=True))


def test_damaged_and_foreign_frames_are_counted_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    good = street(1)[0]
    odd = [None, np.zeros((0, 4, 3), np.uint8), good[..., 0], good.astype(np.float32), good]
    sink = Keep()
    with make_session() as session, caplog.at_level(logging.WARNING):
        report = run_stream(session, Listed([captured(i, pixels) for i, pixels in enumerate(odd)]), [sink])  # type: ignore[arg-type]
    assert counts(report) == (5, 1, 1) and report.dropped.corrupt == 4 and sink.numbers == [4]
    assert "4 of 5 frames were damaged" in caplog.text


def test_many_damaged_frames_are_warned_of_once_while_they_come(caplog: pytest.LogCaptureFixture) -> None:
    with make_session() as session:
        run_stream(session, open_source(f"{SMALL}&frames=300&corrupt=0.5&seed=1"))
    told = [record.message for record in caplog.records if "arrived damaged" in record.message]
    assert len(told) == 1 and "cable" in told[0]
    caplog.clear()
    with make_session() as session:
        run_stream(session, open_source(f"{SMALL}&frames=300&corrupt=0.1&seed=1"))
    assert "arrived damaged" not in caplog.text


def test_gaps_in_the_count_are_frames_replaced_by_newer_ones() -> None:
    frames = [captured(number, frame) for number, frame in zip((0, 1, 5, 6, 9), street(5), strict=True)]
    with make_session() as session:
        report = run_stream(session, Listed(frames, live=True), [])
    assert counts(report) == (10, 5, 5) and report.dropped.newest == 5


def test_a_real_pace_is_kept_with_counts_that_add_up() -> None:
    with make_session() as session, open_source(f"{SMALL}&fps=60&frames=40&corrupt=0.3&seed=1") as source:
        report = run_stream(session, source, [Keep()])
    assert counts(report)[0] == 40 and report.dropped.corrupt > 0


def test_sizes_may_change_on_the_way(tmp_path: Path) -> None:
    sink = Keep()
    with make_session() as session:
        source = open_source(f"{SMALL}&frames=6&resize_at=3")
        video = open_sink(str(tmp_path / "out.mp4"), source, LABELS)
        assert counts(run_stream(session, source, [sink, video])) == (6, 6, 6)
    assert [picture.shape for picture in sink.pictures] == [(36, 48)] * 3 + [(27, 36)] * 3
    assert int(cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == 6


def test_the_report_tells_times_stages_and_outputs(tmp_path: Path) -> None:
    told: list[StreamReport] = []
    with make_session() as session:
        source = open_source(f"{SMALL}&frames=6")
        sinks = [open_sink(str(tmp_path / name), source, LABELS, still=3) for name in ("a.mp4", "maps", "b.png")]
        sinks.append(open_sink("null://", source, LABELS))
        report = run_stream(session, source, sinks, callbacks=Callbacks(on_report=told.append))
    assert report.outputs == [str(tmp_path / name) for name in ("a.mp4", "maps", "b.png")]
    assert set(report.stage_ms) == {"capture", "resize", "inference", "restore", "draw", "encode"}
    assert all(ms >= 0 for ms in report.stage_ms.values())
    age = report.frame_age_ms
    assert 0 < age.p50 <= age.p95 <= age.p99 < 60_000 and report.fps > 0
    assert (report.stalls, report.reconnects) == (0, 0)
    assert 0 < report.class_map_age_ms.p50 <= age.p50 and report.cold_start_ms is not None and report.cold_start_ms > 0
    assert told and [one.shown for one in told] == sorted(one.shown for one in told)
    (source_report,) = report.sources
    assert (source_report.name, source_report.state, source_report.clock) == ("synthetic", "live", "rendered")
    assert len(list((tmp_path / "maps").iterdir())) == 6
    for path in (tmp_path / "maps").iterdir():
        assert read_mask(path, len(LABELS)).shape == (36, 48)


@pytest.mark.parametrize(
    ("source_total", "limit", "expected"), [(9, None, 9), (9, 4, 4), (2, 5, 2)], ids=["all", "limited", "fewer"]
)
def test_the_number_of_frames_can_be_limited(source_total: int, limit: int | None, expected: int) -> None:
    with make_session() as session:
        report = run_stream(session, open_source(f"{SMALL}&frames={source_total}"), [], StreamOptions(limit=limit))
        assert counts(report) == (expected,) * 3
        run_stream(session, open_source(f"{SMALL}&frames=1"), []), "the session can be used again"


def test_a_stop_finishes_what_is_under_way_and_keeps_it(tmp_path: Path) -> None:
    sink = Keep()
    with make_session() as session:
        source = open_source(SMALL)
        video = open_sink(str(tmp_path / "out.mp4"), source, LABELS)
        report = run_stream(session, source, [sink, video], stop=lambda: len(sink.numbers) >= 5)
    captured_, inferred, shown = counts(report)
    assert 5 <= captured_ == inferred == shown <= 12 and sink.numbers == list(range(shown)) and sink.closed == 1
    assert int(cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == shown


def test_a_stop_before_the_first_frame_is_no_loss() -> None:
    with make_session() as session:
        report = run_stream(session, open_source(SMALL), [], stop=lambda: True)
    assert counts(report) == (0, 0, 0) and np.isnan(report.frame_age_ms.p50) and report.fps == 0


def test_a_truncated_video_ends_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "v.avi", 40)
    cut(tmp_path / "v.avi", 0.5)
    with make_session() as session, caplog.at_level(logging.WARNING):
        report = run_stream(session, open_source(str(tmp_path / "v.avi")), [])
    assert 10 <= report.shown <= 22 < (report.announced or 0) and "cut off" in caplog.text


def test_damaged_images_of_a_folder_are_left_out(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png", "b.png", "c.png"])
    (tmp_path / "b.png").write_bytes(b"")
    with make_session() as session:
        report = run_stream(session, open_source(str(tmp_path)), [])
    assert counts(report) == (3, 2, 2) and report.dropped.corrupt == 1


@pytest.mark.parametrize("uri", [f"{SMALL}&frames=5&corrupt=1", "video"], ids=["all damaged", "no frame in a video"])
def test_a_source_without_a_usable_frame_is_lost(uri: str, tmp_path: Path) -> None:
    if uri == "video":
        write_video(tmp_path / "v.avi", 1)
        content = (tmp_path / "v.avi").read_bytes()
        (tmp_path / "v.avi").write_bytes(content[: content.index(b"movi") + 4] + bytes(64))
        uri = str(tmp_path / "v.avi")
    sink = Keep()
    with make_session() as session, pytest.raises(SourceLost):
        run_stream(session, open_source(uri), [sink])
    assert sink.closed == 1 and not sink.numbers


def test_an_engine_for_several_frames_gets_as_many_and_the_rest_at_the_end() -> None:
    plain, sink = Keep(), Keep()
    with make_session() as session:
        run_stream(session, open_source(f"{SMALL}&frames=7"), [plain])
    with make_session(batch=3) as session:
        assert counts(run_stream(session, open_source(f"{SMALL}&frames=7"), [sink])) == (7, 7, 7)
    assert sink.numbers == list(range(7))
    assert all(np.array_equal(a, b) for a, b in zip(sink.pictures, plain.pictures, strict=True))


def failing_at(number: int) -> Keep:
    sink = Keep()

    def fail() -> None:
        if len(sink.numbers) == number:
            raise EdgesegError(f"frame {number} can't be kept")

    sink.on_write = fail
    return sink


def test_a_sink_that_fails_is_switched_off_and_named_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink, video = failing_at(3), VideoSink(tmp_path / "out.mp4", 25)
    with make_session() as session:
        report = run_stream(session, open_source(f"{SMALL}&frames=9"), [sink, video])
    assert report.failed == {"Keep": "frame 3 can't be kept"} and "Keep is switched off" in caplog.text
    assert counts(report) == (9, 9, 9) and sink.closed == 1 and len(sink.numbers) == 3
    assert int(cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == 9


def test_a_sink_may_fail_in_any_way() -> None:
    sink, other = Keep(), Keep()
    sink.on_write = lambda: cv2.resize(np.empty((0, 0), np.uint8), (1, 1))
    with make_session() as session:
        report = run_stream(session, open_source(f"{SMALL}&frames=9"), [sink, other])
    assert len(other.numbers) == 9 and "OpenCV" in report.failed["Keep"]


def test_a_file_beside_a_camera_keeps_all_its_frames(tmp_path: Path) -> None:
    sink = Keep()
    sink.on_write = lambda: time.sleep(0.02)
    write_video(tmp_path / "v.avi", 20)
    sources = [open_source(f"{SMALL}&fps=60&frames=60"), open_source(str(tmp_path / "v.avi"))]
    with make_session() as session, Several(sources) as source:
        shown: dict[str, list[int]] = {"synthetic": [], "v": []}
        callbacks = Callbacks(on_frame=lambda one: shown[one.captured.source].append(one.captured.sequence))
        report = run_stream(session, source, [sink], callbacks=callbacks)
    counts(report)
    assert shown["v"] == list(range(20)) and shown["synthetic"]


def test_when_the_last_sink_fails_there_is_nothing_to_go_on_for() -> None:
    sink, source = failing_at(3), open_source(SMALL)
    with make_session() as session, pytest.raises(EdgesegError, match="frame 3"):
        run_stream(session, source, [sink])
    assert sink.closed == 1


def test_a_sink_that_fails_at_its_end_is_named() -> None:
    sink, other = Keep(), Keep()
    sink.output = "there"

    def close() -> None:
        raise OSError(28, "No space left on device")

    sink.close = close  # type: ignore[method-assign]
    with make_session() as session:
        report = run_stream(session, open_source(f"{SMALL}&frames=3"), [sink, other])
    assert report.failed == {"there": "[Errno 28] No space left on device"} and report.outputs == []


def test_a_callback_that_fails_ends_the_stream_in_good_order() -> None:
    sink = Keep()

    def fail(segmented: Segmented) -> None:
        raise ValueError(segmented.captured.name)

    with make_session() as session:
        with pytest.raises(ValueError, match="synthetic-000000"):
            run_stream(session, open_source(SMALL), [sink], callbacks=Callbacks(on_frame=fail))
        assert sink.closed == 1 and "edgeseg-inference" not in {thread.name for thread in threading.enumerate()}
        assert counts(run_stream(session, open_source(f"{SMALL}&frames=2"))) == (2, 2, 2), "the session is free again"


def test_what_fails_in_the_thread_that_infers_is_raised() -> None:
    def frames() -> Iterable[Captured]:
        yield captured(0, street(1)[0])
        raise SourceLost("the camera is gone")

    sink = Keep()
    with make_session() as session, pytest.raises(SourceLost, match="the camera is gone"):
        run_stream(session, Listed(frames()), [sink])
    assert sink.numbers == [0] and sink.closed == 1, "what came before is kept"


def test_somebody_at_a_sink_may_ask_for_the_end() -> None:
    sink = Keep()
    sink.on_write = lambda: setattr(sink, "wants_to_stop", len(sink.numbers) >= 4)
    with make_session() as session, open_source(f"{SMALL}&fps=100") as source:
        report = run_stream(session, source, [sink])
    assert 5 <= len(sink.numbers) <= 7 and sink.closed == 1
    counts(report)


def test_the_newest_answer_of_a_camera_is_shown_and_no_older_one() -> None:
    sink, ages = Keep(), []
    sink.on_write = lambda: time.sleep(0.1)
    frame = street(1)[0]

    def frames() -> Iterable[Captured]:
        for number in range(100):
            time.sleep(0.005)
            yield captured(number, frame.copy())

    def on_frame(segmented: Segmented) -> None:
        ages.append(time.monotonic_ns() - segmented.captured.captured_ns)

    with make_session() as session:
        report = run_stream(session, Listed(frames(), live=True), [sink], callbacks=Callbacks(on_frame=on_frame))
    assert counts(report)[:2] == (100, 100), "a sink that is slow delays no frame"
    assert 5 <= report.shown == len(sink.numbers) < 50 and sink.numbers[-1] == 99


def test_every_frame_of_a_file_is_shown_however_slow_a_sink_is() -> None:
    sink = Keep()
    sink.on_write = lambda: time.sleep(0.01)
    with make_session() as session:
        assert counts(run_stream(session, open_source(f"{SMALL}&frames=20"), [sink])) == (20, 20, 20)


def test_while_nothing_comes_sinks_are_told_how_the_source_is() -> None:
    told: list[StreamReport] = []
    sink, patience = Keep(), Patience(stall_s=0.4, pause_s=0.6)
    source = open_source(f"{SMALL}&fps=50&stall_at=10&stall_s=60&frames=30", patience=patience)
    lives: list[int] = []
    with make_session() as session, source:
        callbacks = Callbacks(on_report=told.append, on_life=lambda: lives.append(len(sink.numbers)))
        report = run_stream(session, source, [sink], callbacks=callbacks)
    assert counts(report)[0] == 30 and (report.stalls, report.reconnects) == (1, 1)
    assert sink.idled >= 2
    stalled = [one.sources[0] for one in told if one.sources[0].state == "stalled"]
    assert stalled and stalled[-1].reason == "no frames came" and stalled[-1].silent_s > 0.4
    assert lives, "who looks for the camera is alive"


def test_old_frames_of_a_camera_are_not_shown_as_live() -> None:
    class Old(Listed):
        def read(self, out: np.ndarray | None = None) -> Captured | None:
            frame = super().read(out)
            late_ns = 3_000_000_000 if frame and frame.sequence in (1, 2) else 0
            return frame and dataclasses.replace(frame, captured_ns=frame.captured_ns - late_ns)

    sink = Keep()
    frames = [captured(number, frame) for number, frame in enumerate(street(5))]
    with make_session() as session:
        report = run_stream(session, Old(frames, live=True), [sink])
    assert counts(report)[:2] == (5, 3) and report.dropped.stale == 2 and not {1, 2} & set(sink.numbers)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(5, [0, 5, 10, 15, 20, 25], id="a fifth of them"),
        pytest.param(10, [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27], id="as evenly as they come"),
        pytest.param(100, list(range(30)), id="more than there are"),
    ],
)
def test_no_more_frames_a_second_than_asked_for(target: float, expected: list[int]) -> None:
    sink = Keep()
    with make_session() as session:
        report = run_stream(session, open_source(f"{SMALL}&frames=30"), [sink], StreamOptions(target_fps=target))
    assert report.dropped.skipped == 30 - len(expected) and counts(report)[0] == 30
    assert len(sink.numbers) == len(expected)
    assert np.abs(np.array(sink.numbers) - expected).max() <= 1


@pytest.mark.parametrize(
    "roi", [pytest.param("12,9,24,18", id="in pixels"), pytest.param("0.25,0.25,0.5,0.5", id="in shares")]
)
def test_a_region_is_segmented_as_if_it_were_the_frame(roi: str) -> None:
    sink, frame = Keep(), street(1, (36, 48))[0]
    with make_session() as session:
        run_stream(session, Listed([captured(0, frame)]), [sink], StreamOptions(roi=Roi.parse(roi)))
    (picture,) = sink.pictures
    inside = np.zeros(frame.shape[:2], bool)
    inside[9:27, 12:36] = True
    resize = Resize("stretch", "nearest")
    small = resize_frame(np.ascontiguousarray(frame[9:27, 12:36]), (24, 32), resize)[..., 1] // 64
    assert (picture[~inside] == VOID).all()
    assert np.array_equal(picture[9:27, 12:36], restore_class_map(small, (18, 24), resize))


def test_a_region_stays_where_it_is_when_the_camera_gives_another_size(caplog: pytest.LogCaptureFixture) -> None:
    sink, options = Keep(), StreamOptions(roi=Roi.parse("12,9,24,18"))
    with make_session() as session:
        run_stream(session, open_source(f"{SMALL}&frames=2&resize_at=1"), [sink], options)
    assert "'synthetic' gives frames of 36x27 pixels now, not of 48x36" in caplog.text
    seen = [np.argwhere(picture != VOID) for picture in sink.pictures]
    assert [(*places.min(0), *places.max(0)) for places in seen] == [(9, 12, 26, 35), (7, 9, 19, 26)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("1,2,3", "'1,2,3' is no region", id="three numbers"),
        pytest.param("a,b,c,d", "is no region", id="words"),
        pytest.param("0,0,0,5", "is no region", id="no width"),
        pytest.param("40,0,20,10", "40,0,20,10 does not lie in frames of 48x36", id="out of the frame"),
    ],
)
def test_regions_that_can_not_be_meant_are_refused(text: str, said: str) -> None:
    with make_session() as session, pytest.raises(UsageError, match=re.escape(said)):
        run_stream(session, open_source(SMALL), [], StreamOptions(roi=Roi.parse(text)))


@pytest.mark.parametrize(
    "options", [{"opacity": 1.5}, {"unknown": -0.1}, {"smooth": 2}, {"target_fps": 0}, {"limit": 0}], ids=str
)
def test_options_out_of_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        StreamOptions(**options)  # type: ignore[arg-type]


def test_frames_of_several_cameras_are_counted_each() -> None:
    sink = Keep()
    sources = [open_source(f"{SMALL}&frames={count}&seed={count}") for count in (5, 3)]
    with make_session() as session, Several(sources) as source:
        report = run_stream(session, source, [sink])
    assert counts(report) == (8, 8, 8)
    assert {one.name: (one.captured, one.inferred) for one in report.sources} == {
        "synthetic-1": (5, 5),
        "synthetic-2": (3, 3),
    }


def test_buffers_for_pixels_are_made_once() -> None:
    seen: dict[str, set[int]] = {"pixels": set(), "class_map": set(), "overlay": set()}

    def on_frame(segmented: Segmented) -> None:
        for name, places in seen.items():
            places.add(getattr(segmented, name).__array_interface__["data"][0])

    source = open_source("synthetic://?width=64&height=48&frames=200")
    with make_session() as session:
        run_stream(session, source, callbacks=Callbacks(on_frame=on_frame))
    assert len(seen["pixels"]) <= 6, "one is read, two are inferred, one waits, one is drawn, one is given back"
    assert len(seen["class_map"]) == len(seen["overlay"]) == 1


def test_the_session_gets_each_frame_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    session = make_session()
    submit = session.submit
    monkeypatch.setattr(session, "submit", lambda: (asked.append(int(session.input_buffer()[0, 0, 0, 1])), submit())[1])
    frames = [captured(i, np.full((24, 32, 3), i, np.uint8)) for i in range(7)]
    with session:
        run_stream(session, Listed(frames), [])
    assert asked == list(range(7))
