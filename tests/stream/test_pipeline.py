"""The stream from a source through a session into sinks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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
from edgeseg.stream import Captured, open_source, run_stream
from edgeseg.stream.overlay import Overlay
from edgeseg.stream.pipeline import StreamReport
from edgeseg.stream.sinks import VideoSink, open_sink
from tests.data.media import cut, street, write_images, write_video
from tests.stream.parts import LABELS, captured, make_session

SMALL = "synthetic://?width=48&height=36"


@dataclass
class Listed:
    """A source that gives a list."""

    frames: Iterable[Captured]
    live: bool = False
    fps: float = 25.0
    name: str = "listed"
    place: Path | None = None
    total: int | None = None

    def read(self, out: np.ndarray | None = None) -> Captured | None:
        self.frames = iter(self.frames)
        return next(self.frames, None)

    def close(self) -> None:
        pass


@dataclass
class Keep:
    """A sink that keeps copies."""

    wants: Literal["overlay", "class_map"] = "class_map"
    output: str = ""
    pictures: list[np.ndarray] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    closed: int = 0
    on_write: Callable[[], None] = lambda: None

    def write(self, captured: Captured, picture: np.ndarray) -> None:
        self.on_write()
        self.numbers.append(captured.sequence)
        self.pictures.append(picture.copy())

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
        report = run_stream(session, source, [sink, overlays], opacity=0.3)
    assert counts(report) == (8, 8, 8) and sink.numbers == list(range(8))
    overlay = Overlay(LABELS, 0.3)
    for frame, class_map, drawn in zip(frames, sink.pictures, overlays.pictures, strict=True):
        small = resize_frame(frame, (24, 32), resize)[..., 1] // 64
        plain = restore_class_map(small, frame.shape[:2], resize)
        assert np.array_equal(class_map, plain)
        assert (plain == VOID).any() == (mode == "crop" and frame.shape[:2] == (30, 60))
        assert np.array_equal(drawn, overlay.draw(frame, plain))


def test_frames_overlap_for_files_and_are_shown_at_once_when_live() -> None:
    for live, expected in ((False, [0, 0, 1, 2, 3]), (True, [0, 1, 2, 3, 4])):
        sink, shown_when_read = Keep(), []

        def frames(sink: Keep = sink, shown_when_read: list[int] = shown_when_read) -> Iterable[Captured]:
            for number, frame in enumerate(street(5)):
                shown_when_read.append(len(sink.numbers))
                yield captured(number, frame)

        with make_session() as session:
            run_stream(session, Listed(frames(), live=live), [sink])
        assert shown_when_read == expected and sink.numbers == [0, 1, 2, 3, 4]


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


def test_gaps_in_the_count_are_frames_replaced_by_newer_ones() -> None:
    frames = [captured(number, frame) for number, frame in zip((0, 1, 5, 6, 9), street(5), strict=True)]
    with make_session() as session:
        report = run_stream(session, Listed(frames, live=True), [])
    assert counts(report) == (10, 5, 5) and report.dropped.newest == 5


def test_a_real_pace_is_kept_with_counts_that_add_up() -> None:
    with make_session() as session:
        report = run_stream(session, open_source(f"{SMALL}&fps=200&frames=40&corrupt=0.2&seed=1"), [Keep()])
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
    told: list[tuple[int, int | None]] = []
    with make_session() as session:
        source = open_source(f"{SMALL}&frames=6")
        sinks = [open_sink(str(tmp_path / name), source, LABELS, still=3) for name in ("a.mp4", "maps", "b.png")]
        sinks.append(open_sink("null://", source, LABELS))
        report = run_stream(session, source, sinks, on_progress=lambda done, total: told.append((done, total)))
    assert report.outputs == [str(tmp_path / name) for name in ("a.mp4", "maps", "b.png")]
    assert set(report.stage_ms) == {"capture", "resize", "inference", "draw", "write"}
    assert all(ms >= 0 for ms in report.stage_ms.values())
    age = report.frame_age_ms
    assert 0 < age.p50 <= age.p95 <= age.p99 < 60_000 and report.fps > 0
    assert (report.stalls, report.reconnects) == (0, 0)
    assert told[0] == (0, 6) and told[-1][0] >= 5 and [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(list((tmp_path / "maps").iterdir())) == 6
    for path in (tmp_path / "maps").iterdir():
        assert read_mask(path, len(LABELS)).shape == (36, 48)


@pytest.mark.parametrize(
    ("source_total", "limit", "expected"), [(9, None, 9), (9, 4, 4), (2, 5, 2)], ids=["all", "limited", "fewer"]
)
def test_the_number_of_frames_can_be_limited(source_total: int, limit: int | None, expected: int) -> None:
    with make_session() as session:
        report = run_stream(session, open_source(f"{SMALL}&frames={source_total}"), [], limit=limit)
        assert counts(report) == (expected,) * 3
        run_stream(session, open_source(f"{SMALL}&frames=1"), []), "the session can be used again"


def test_a_stop_finishes_what_is_under_way_and_keeps_it(tmp_path: Path) -> None:
    sink = Keep()
    with make_session() as session:
        source = open_source(SMALL)
        video = open_sink(str(tmp_path / "out.mp4"), source, LABELS)
        report = run_stream(session, source, [sink, video], stop=lambda: len(sink.numbers) >= 5)
    assert counts(report) == (6, 6, 6) and sink.numbers == list(range(6)) and sink.closed == 1
    assert int(cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == 6


def test_a_stop_before_the_first_frame_is_no_loss() -> None:
    with make_session() as session:
        report = run_stream(session, open_source(SMALL), [], stop=lambda: True)
    assert counts(report) == (0, 0, 0) and np.isnan(report.frame_age_ms.p50) and report.fps == 0


def test_silence_of_a_live_source_is_a_stall(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeseg.stream.pipeline.STALL_S", 0.05)
    with make_session() as session:
        report = run_stream(session, open_source(f"{SMALL}&fps=100&frames=4&stall_at=2&stall_s=0.2"), [])
        still = run_stream(session, open_source(f"{SMALL}&frames=4&stall_at=2&stall_s=0.2"), [])
    assert report.stalls == 1 and "'synthetic' was silent for" in caplog.text
    assert still.stalls == 0, "a source that waits for its reader can't be late"


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


def test_an_engine_for_several_frames_is_refused() -> None:
    with make_session(batch=2) as session, pytest.raises(UsageError, match="2 frames at a time"):
        run_stream(session, open_source(SMALL), [])


def test_sinks_keep_what_they_have_when_something_fails(tmp_path: Path) -> None:
    sink = Keep()

    def fail() -> None:
        if len(sink.numbers) == 3:
            raise EdgesegError("the fourth frame can't be kept")

    sink.on_write = fail
    video = VideoSink(tmp_path / "out.mp4", 25)
    with make_session() as session, pytest.raises(EdgesegError, match="fourth"):
        run_stream(session, open_source(f"{SMALL}&frames=9"), [video, sink])
    assert sink.closed == 1
    assert int(cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == 4


def test_the_session_gets_each_frame_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    session = make_session()
    submit = session.submit
    monkeypatch.setattr(session, "submit", lambda: (asked.append(int(session.input_buffer()[0, 0, 0, 1])), submit())[1])
    frames = [captured(i, np.full((24, 32, 3), i, np.uint8)) for i in range(7)]
    with session:
        run_stream(session, Listed(frames), [])
    assert asked == list(range(7))
