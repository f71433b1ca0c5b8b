"""Sinks for overlays and class maps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edgeseg.data.images import read_frame, read_mask
from edgeseg.data.video import VideoFile
from edgeseg.errors import UsageError
from edgeseg.labels import VOID
from edgeseg.stream.sinks import (
    ClassMapFolder,
    NullSink,
    NumberedImages,
    Sink,
    StillImage,
    VideoSink,
    open_sink,
)
from edgeseg.stream.sources import Source, open_source
from tests.data.media import street, write_images, write_video
from tests.stream.parts import LABELS, captured


@pytest.fixture
def source() -> Source:
    return open_source("synthetic://?width=32&height=24&frames=9&fps=12")


def give(sink: Sink, pictures: list[np.ndarray]) -> None:
    for number, picture in enumerate(pictures):
        sink.write(captured(number), picture)
    sink.close()
    sink.close()


def frames_of(path: Path) -> list[np.ndarray]:
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


@pytest.mark.parametrize("uri", ["out.gif", "out.avi", "rtsp://host/x", "display://0", "demo://bikes", "out.tar.gz"])
def test_what_is_no_sink_is_refused_with_what_is_possible(uri: str, source: Source) -> None:
    with pytest.raises(UsageError, match="no sink that can be opened") as caught:
        open_sink(uri, source, LABELS)
    assert "out.mp4" in caught.value.hint and "null://" in caught.value.hint


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
    file = open_source(str(tmp_path / inside))
    for uri in (tmp_path / inside, tmp_path / "link" / Path(inside).name):
        with pytest.raises(UsageError, match="never written to"):
            open_sink(str(uri), file, LABELS)
    open_sink(str(tmp_path / outside), file, LABELS)


@pytest.mark.parametrize("uri", ["in", "in/maps", "in/%i.jpg", "in/out.mp4"])
def test_nothing_is_written_into_a_source_folder(uri: str, tmp_path: Path) -> None:
    write_images(tmp_path / "in", ["a.png"])
    with pytest.raises(UsageError, match="never written to"):
        open_sink(str(tmp_path / uri), open_source(str(tmp_path / "in")), LABELS)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.png"]


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


def test_a_video_takes_its_place_only_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"what was here before")
    sink = VideoSink(out, 25)
    for number, frame in enumerate(street(3)):
        sink.write(captured(number), frame)
    assert out.read_bytes() == b"what was here before"
    sink.close()
    assert len(frames_of(out)) == 3


def test_a_video_without_a_frame_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"before")
    VideoSink(tmp_path / "out.mp4", 25).close()
    assert (tmp_path / "out.mp4").read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


def test_pictures_of_another_size_are_fitted_into_the_video(tmp_path: Path) -> None:
    white = np.full((48, 64, 3), 255, np.uint8)
    give(VideoSink(tmp_path / "out.mp4", 25), [white, np.full((48, 16, 3), 255, np.uint8), white])
    read = frames_of(tmp_path / "out.mp4")
    assert [frame.shape for frame in read] == [(48, 64, 3)] * 3
    assert read[1][:, 26:38].min() > 240 and abs(int(read[1][:, :16].mean()) - 128) < 8


def test_a_folder_that_can_not_be_written_to_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sink = VideoSink(tmp_path / "file" / "out.mp4", 25)
    with pytest.raises(OSError, match="file"):
        sink.write(captured(), street(1)[0])
    sink.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from edgeseg.errors import EdgesegError
from edgeseg.stream.sinks import VideoSink
from tests.data.media import street
from tests.stream.parts import captured

sink = VideoSink(Path(sys.argv[1]), 25)
frames = street(8, (240, 320))
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
for number, frame in enumerate(frames):
    sink.write(captured(number), frame)
try:
    sink.close()
except EdgesegError as error:
    print(error)
"""


def test_a_video_that_did_not_fit_on_the_disk_is_not_kept(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"before")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(out)], capture_output=True, text=True, check=True)
    assert "of 8 frames" in done.stdout.lower() and "Is the disk full?" in done.stdout, done.stderr
    assert out.read_bytes() == b"before" and [path.name for path in tmp_path.iterdir()] == [out.name]


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
    sink.write(captured(3), pictures[0])
    sink.write(captured(12), pictures[1])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["shot_000003.png", "shot_000012.png"]
    assert np.array_equal(read_frame(tmp_path / "new" / "shot_000012.png"), pictures[1])


def test_class_maps_come_back_as_they_were_and_show_the_palette(tmp_path: Path) -> None:
    class_map = np.random.default_rng(0).integers(0, len(LABELS), (37, 53)).astype(np.uint8)
    class_map[:4] = VOID
    sink = ClassMapFolder(tmp_path / "maps", LABELS)
    sink.write(captured(name="drive/one/0001"), class_map)
    path = tmp_path / "maps" / "drive" / "one" / "0001.png"
    assert np.array_equal(read_mask(path, len(LABELS)), class_map)
    with Image.open(path) as image:
        assert image.mode == "P"
        shown = np.asarray(image.convert("RGB"))
    assert np.array_equal(shown[4:], np.array(LABELS.palette, np.uint8)[class_map[4:]]) and not shown[:4].any()
    assert cv2.imread(str(path), cv2.IMREAD_COLOR) is not None


def test_the_video_has_the_pace_of_its_source(source: Source, tmp_path: Path) -> None:
    give(open_sink(str(tmp_path / "a.mp4"), source, LABELS), street(2))
    write_images(tmp_path / "in", ["a.png"])
    give(open_sink(str(tmp_path / "b.mp4"), open_source(str(tmp_path / "in")), LABELS), street(2))
    with VideoFile(tmp_path / "a.mp4") as paced, VideoFile(tmp_path / "b.mp4") as images:
        assert (paced.fps, images.fps) == (12, 25)
