"""Sinks for overlays and class maps."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edgeseg.data.images import read_frame, read_mask
from edgeseg.data.video import VideoFile
from edgeseg.errors import EdgesegError, MissingDependency, UsageError
from edgeseg.labels import VOID
from edgeseg.stream import Sink, Source, open_sink, open_source
from edgeseg.stream.sinks.images import ClassMapFolder, NullSink, NumberedImages, StillImage
from edgeseg.stream.sinks.jsonl import AreaLines
from edgeseg.stream.sinks.video import VideoSink
from tests.data.media import street, write_images, write_video
from tests.stream.parts import LABELS, UInt8, segmented


@pytest.fixture(params=["pyav", "opencv"])
def encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Videos are written by PyAV, and by OpenCV where that is not installed."""
    if request.param == "pyav":
        pytest.importorskip("av", reason="PyAV is not installed")
    else:
        monkeypatch.setitem(sys.modules, "av", None)
    return str(request.param)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    """A video of 12 FPS."""
    (tmp_path / "source").mkdir()
    write_video(tmp_path / "source" / "drive.avi", 2, fps=12)
    with open_source(str(tmp_path / "source" / "drive.avi")) as opened:
        yield opened


def give(sink: Sink, pictures: list[UInt8], times_ns: Sequence[int] | None = None) -> None:
    for number, picture in enumerate(pictures):
        sink.write(segmented(picture, number, captured_ns=times_ns[number] if times_ns else 0))
    sink.close()
    sink.close()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def frames_of(path: Path) -> list[UInt8]:
    frames = []
    with VideoFile(path) as video:
        while (frame := video.read()) is not None:
            frames.append(frame)
    return frames


@pytest.mark.parametrize(
    ("uri", "kind", "output"),
    [
        pytest.param("out.mp4", VideoSink, "out.mp4", id="a video"),
        pytest.param("file://a/out.MP4", VideoSink, "a/out.MP4", id="a video as address"),
        pytest.param("out.png", StillImage, "out.png", id="an image"),
        pytest.param("areas.jsonl", AreaLines, "areas.jsonl", id="areas"),
        pytest.param("a/%i.jpg", NumberedImages, "a/%i.jpg", id="numbered images"),
        pytest.param("maps", ClassMapFolder, "maps", id="a folder to be made"),
        pytest.param("maps.v1/", ClassMapFolder, "maps.v1", id="a folder by its slash"),
        pytest.param("there.is", ClassMapFolder, "there.is", id="a folder that is there"),
        pytest.param("null://", NullSink, "", id="nothing"),
    ],
)
def test_words_mean_sinks(
    uri: str, kind: type, output: str, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.is").mkdir()
    sink = open_sink(uri, source, LABELS)
    assert type(sink) is kind and sink.output == output
    sink.close()


@pytest.mark.parametrize(
    "uri", ["out.gif", "out.avi", "web://127.0.0.1:8080", "rtmp://host/x", "demo://bikes", "out.tar.gz"]
)
def test_what_is_no_sink_is_refused_with_what_is_possible(uri: str, source: Source) -> None:
    with pytest.raises(UsageError, match="no sink that can be opened") as caught:
        open_sink(uri, source, LABELS)
    for word in ("out.mp4", "areas.jsonl", "display://0", "rtsp://", "web://", "null://"):
        assert word in caught.value.hint


def test_a_refused_address_shows_no_password(source: Source) -> None:
    with pytest.raises(UsageError) as caught:
        open_sink("rtmp://user:secret@host/x", source, LABELS)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        pytest.param("in/v.mp4", "in/out.mp4", id="the video itself"),
        pytest.param("in/a.png", "in/b.png", id="the image itself"),
    ],
)
def test_a_source_is_never_written_over(inside: str, outside: str, tmp_path: Path) -> None:
    write_images(tmp_path / "in", ["a.png"])
    write_video(tmp_path / "in" / "v.mp4", 1)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with open_source(str(tmp_path / inside)) as file:
        for uri in (tmp_path / inside, tmp_path / "link" / Path(inside).name):
            with pytest.raises(UsageError, match="never written to"):
                open_sink(str(uri), file, LABELS)
        open_sink(str(tmp_path / outside), file, LABELS).close()


@pytest.mark.parametrize("uri", ["in", "in/maps", "in/%i.jpg", "in/out.mp4"])
def test_nothing_is_written_into_a_source_folder(uri: str, tmp_path: Path) -> None:
    write_images(tmp_path / "in", ["a.png"])
    with pytest.raises(UsageError, match="never written to"):
        open_sink(str(tmp_path / uri), open_source(str(tmp_path / "in")), LABELS)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.png"]


@pytest.mark.usefixtures("encoder")
@pytest.mark.parametrize("size_hw", [(240, 320), (51, 67)], ids=["even sizes", "odd sizes"])
def test_every_frame_of_a_video_can_be_read_back(size_hw: tuple[int, int], tmp_path: Path) -> None:
    written = street(6, size_hw)
    give(VideoSink(tmp_path / "out.mp4", 12.5), written)
    read = frames_of(tmp_path / "out.mp4")
    height, width = (side // 2 * 2 for side in size_hw)
    for before, after in zip(written, read, strict=True):
        assert abs(after.shape[0] - size_hw[0]) <= 1 and abs(after.shape[1] - size_hw[1]) <= 1
        assert np.abs(before[:height, :width].astype(int) - after[:height, :width]).mean() < 12
    with VideoFile(tmp_path / "out.mp4") as video:
        assert video.fps == 12.5
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.usefixtures("encoder")
def test_a_video_takes_its_place_only_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"what was here before")
    sink = VideoSink(out, 25)
    for number, frame in enumerate(street(3)):
        sink.write(segmented(frame, number))
    assert out.read_bytes() == b"what was here before"
    assert names_in(tmp_path) == ["out.mp4", "out.recording.mp4"]
    sink.close()
    assert len(frames_of(out)) == 3 and names_in(tmp_path) == ["out.mp4"]


def test_a_video_without_a_frame_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"before")
    VideoSink(tmp_path / "out.mp4", 25).close()
    assert (tmp_path / "out.mp4").read_bytes() == b"before" and names_in(tmp_path) == ["out.mp4"]


@pytest.mark.usefixtures("encoder")
def test_pictures_of_another_size_are_fitted_into_the_video(tmp_path: Path) -> None:
    white = np.full((48, 64, 3), 255, np.uint8)
    give(VideoSink(tmp_path / "out.mp4", 25), [white, np.full((48, 16, 3), 255, np.uint8), white])
    read = frames_of(tmp_path / "out.mp4")
    assert [frame.shape for frame in read] == [(48, 64, 3)] * 3
    assert read[1][:, 26:38].min() > 240 and abs(int(read[1][:, :16].mean()) - 128) < 8


def test_a_closed_video_takes_no_more_frames(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 25)
    give(sink, street(2))
    with pytest.raises(EdgesegError, match="closed"):
        sink.write(segmented(street(1)[0]))
    assert len(frames_of(tmp_path / "out.mp4")) == 2


def test_a_folder_that_can_not_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        VideoSink(tmp_path / "file" / "out.mp4", 25)


FULL_DISK = """
import resource, sys
from pathlib import Path
if sys.argv[3] == "opencv":
    sys.modules["av"] = None
from edgeseg.errors import EdgesegError
from edgeseg.stream.sinks.video import VideoSink
from tests.data.media import street
from tests.stream.parts import segmented

sink = VideoSink(Path(sys.argv[1]), 25)
frames = street(60, (240, 320))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    for number, frame in enumerate(frames):
        sink.write(segmented(frame, number))
    sink.close()
except EdgesegError as error:
    print(error)
    sink.close()
"""


def fill_disk(out: Path, size: int, encoder: str) -> str:
    """Record 60 frames to where only `size` bytes fit; what was told."""
    out.write_bytes(b"before")
    command = [sys.executable, "-c", FULL_DISK, str(out), str(size), encoder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert out.read_bytes() == b"before"
    assert str(out) in done.stdout and "Is the disk full?" in done.stdout, done.stderr
    return done.stdout


def test_a_video_of_opencv_that_did_not_fit_on_the_disk_is_told(tmp_path: Path) -> None:
    assert "Of 60 frames" in fill_disk(tmp_path / "out.mp4", 30_000, "opencv")
    assert names_in(tmp_path) == ["out.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "seconds"),
    [
        pytest.param(None, 0, id="nothing fits"),
        pytest.param(40_000, 1, id="all but the last second fits"),
        pytest.param(20, 2, id="all but the end of the index fits"),
    ],
)
def test_what_plays_of_a_video_that_did_not_fit_on_the_disk_is_kept(
    missing: int | None, seconds: int, tmp_path: Path
) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    out = tmp_path / "out.mp4"
    give(VideoSink(out, 25), street(60, (240, 320)))
    fill_disk(out, 1000 if missing is None else out.stat().st_size - missing, "pyav")
    kept = ["out.cut-off-1.mp4"] if seconds else []
    assert names_in(tmp_path) == [*kept, "out.mp4"]
    assert all(len(frames_of(tmp_path / name)) >= seconds * 25 for name in kept)


def test_a_second_process_is_told_that_a_video_is_being_recorded(tmp_path: Path) -> None:
    with contextlib.closing(VideoSink(tmp_path / "out.mp4", 25)) as sink:
        sink.write(segmented(street(1)[0]))
        with pytest.raises(EdgesegError, match=r"Another process is recording to .*out\.mp4"):
            VideoSink(tmp_path / "out.mp4", 25)
        VideoSink(tmp_path / "other.mp4", 25).close()
    assert len(frames_of(tmp_path / "out.mp4")) == 1
    VideoSink(tmp_path / "out.mp4", 25).close()


def test_what_a_killed_process_left_is_kept_under_a_name_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for content in (b"first" * 500, b"a header", b"second" * 500):
        (tmp_path / "out.recording.mp4").write_bytes(content)
        give(VideoSink(tmp_path / "out.mp4", 25), street(2))
    assert names_in(tmp_path) == ["out.cut-off-1.mp4", "out.cut-off-2.mp4", "out.mp4"]
    assert (tmp_path / "out.cut-off-2.mp4").read_bytes() == b"second" * 500
    assert "out.cut-off-1.mp4" in caplog.text and len(frames_of(tmp_path / "out.mp4")) == 2


@pytest.mark.parametrize(
    ("by_capture_time", "expected_s"),
    [
        pytest.param(True, [0.0, 0.04, 0.1, 1.5, 1.50001, 1.6], id="a camera's frames come when they were captured"),
        pytest.param(False, [0.0, 0.04, 0.08, 0.12, 0.16, 0.2], id="a file's frames come at its pace"),
    ],
)
def test_each_frame_of_a_video_has_its_time(by_capture_time: bool, expected_s: list[float], tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    times = [10**12 + ns for ns in (0, 40_000_000, 100_000_000, 1_500_000_000, 1_490_000_000, 1_600_000_000)]
    give(VideoSink(tmp_path / "out.mp4", 25, by_capture_time=by_capture_time), street(6), times)
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx(expected_s, abs=1e-4)


@pytest.mark.parametrize(
    ("missing", "codec"),
    [
        pytest.param("", "h264", id="H.264"),
        pytest.param("libx264", "mpeg4", id="MPEG-4 where FFmpeg was built without libx264"),
    ],
)
def test_a_video_has_a_key_frame_each_second(
    missing: str, codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {missing})
    give(VideoSink(tmp_path / "out.mp4", 10), street(25))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == codec
        frames = list(container.decode(video=0))
    assert [number for number, frame in enumerate(frames) if frame.key_frame] == [0, 10, 20]


def test_a_recording_plays_while_it_grows_up_to_its_last_second(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    with contextlib.closing(VideoSink(tmp_path / "out.mp4", 10)) as sink:
        for number, frame in enumerate(street(25)):
            sink.write(segmented(frame, number))
        shutil.copy(tmp_path / "out.recording.mp4", tmp_path / "copy.mp4")
    assert len(frames_of(tmp_path / "copy.mp4")) == 20


def test_colours_come_back_from_a_video_as_they_were(tmp_path: Path, encoder: str) -> None:
    colours = np.array([[[128, 64, 128], [0, 0, 142], [220, 20, 60], [107, 142, 35]]], np.uint8)
    picture = cv2.resize(colours, (256, 64), interpolation=cv2.INTER_NEAREST)
    give(VideoSink(tmp_path / "out.mp4", 25), [picture] * 3)
    read = frames_of(tmp_path / "out.mp4")[2][16:48, 32::64]
    assert np.abs(read.astype(int) - colours).max() < 14, encoder


@pytest.mark.parametrize(
    ("at", "frames", "kept"),
    [
        pytest.param(5, 9, 5, id="the one that was asked for"),
        pytest.param(0, 1, 0, id="the only one"),
        pytest.param(50, 7, 4, id="a power of two where that one never came"),
        pytest.param(None, 11, 8, id="a power of two where none was asked for"),
    ],
)
def test_a_still_is_one_frame(at: int | None, frames: int, kept: int, tmp_path: Path) -> None:
    pictures = street(frames)
    give(StillImage(tmp_path / "still.png", at), pictures)
    assert np.array_equal(read_frame(tmp_path / "still.png"), pictures[kept])


def test_a_still_without_a_frame_is_not_made(tmp_path: Path) -> None:
    StillImage(tmp_path / "still.png", 3).close()
    assert not list(tmp_path.iterdir())


def test_numbered_images_bear_the_number_of_their_frame(tmp_path: Path) -> None:
    pictures = street(2)
    sink = NumberedImages(tmp_path / "new" / "shot_%i.png")
    sink.write(segmented(pictures[0], 3))
    sink.write(segmented(pictures[1], 12))
    assert names_in(tmp_path / "new") == ["shot_000003.png", "shot_000012.png"]
    assert np.array_equal(read_frame(tmp_path / "new" / "shot_000012.png"), pictures[1])


def test_class_maps_come_back_as_they_were_and_show_the_palette(tmp_path: Path) -> None:
    class_map = np.random.default_rng(0).integers(0, len(LABELS), (37, 53)).astype(np.uint8)
    class_map[:4] = VOID
    sink = ClassMapFolder(tmp_path / "maps", LABELS)
    sink.write(segmented(street(1)[0], class_map=class_map, name="drive/one/0001"))
    path = tmp_path / "maps" / "drive" / "one" / "0001.png"
    assert np.array_equal(read_mask(path, len(LABELS)), class_map) and names_in(path.parent) == ["0001.png"]
    with Image.open(path) as image:
        assert image.mode == "P"
        shown = np.asarray(image.convert("RGB"))
    assert np.array_equal(shown[4:], np.array(LABELS.palette, np.uint8)[class_map[4:]]) and not shown[:4].any()
    assert cv2.imread(str(path), cv2.IMREAD_COLOR) is not None


def test_a_class_map_that_does_not_fit_on_the_disk_leaves_the_one_before(tmp_path: Path) -> None:
    code = (
        "import resource, sys, numpy as np; from pathlib import Path\n"
        "from edgeseg.stream.sinks.images import ClassMapFolder\n"
        "from tests.stream.parts import LABELS, segmented\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "noise = np.random.default_rng(0).integers(0, 4, (200, 200)).astype(np.uint8)\n"
        "try: ClassMapFolder(Path(sys.argv[1]), LABELS).write(segmented(np.zeros((200, 200, 3), np.uint8), "
        "class_map=noise))\n"
        "except OSError as error: print(error.strerror)"
    )
    (tmp_path / "test-000000.png").write_bytes(b"before")
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n", done.stderr
    assert names_in(tmp_path) == ["test-000000.png"] and (tmp_path / "test-000000.png").read_bytes() == b"before"


def test_the_video_has_the_pace_of_its_source(source: Source, tmp_path: Path) -> None:
    give(open_sink(str(tmp_path / "a.mp4"), source, LABELS), street(2))
    write_images(tmp_path / "in", ["a.png"])
    give(open_sink(str(tmp_path / "b.mp4"), open_source(str(tmp_path / "in")), LABELS), street(2))
    with VideoFile(tmp_path / "a.mp4") as paced, VideoFile(tmp_path / "b.mp4") as images:
        assert (paced.fps, images.fps) == (12, 25)


def test_a_window_without_a_display_is_refused(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(MissingDependency, match="window"):
        open_sink("display://0", source, LABELS)
