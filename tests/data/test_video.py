"""Video files, whole and damaged."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from edgeseg.data.video import VideoFile
from edgeseg.errors import SourceLost
from tests.data.media import SIZE_HW, cut, street, write_video


def read_all(path: Path) -> list[np.ndarray]:
    frames = []
    with VideoFile(path) as video:
        while (frame := video.read()) is not None:
            frames.append(frame)
    return frames


def test_every_frame_comes_in_order(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 7, fps=12.5)
    with VideoFile(tmp_path / "v.avi") as video:
        assert (video.fps, video.announced) == (12.5, 7)
    for read, written in zip(read_all(tmp_path / "v.avi"), street(7), strict=True):
        assert np.abs(read.astype(int) - written).mean() < 6


def test_frames_are_decoded_into_the_given_array_where_it_fits(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 2)
    with VideoFile(tmp_path / "v.avi") as video:
        buffer = np.zeros((*SIZE_HW, 3), np.uint8)
        first = video.read(buffer)
        assert first is not None and np.shares_memory(first, buffer) and buffer.any()
        second = video.read(np.zeros((10, 10, 3), np.uint8))
        assert second is not None and second.shape == (*SIZE_HW, 3)
        assert video.decoded == 2


def test_skipping_moves_on_by_one_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 3)
    with VideoFile(tmp_path / "v.avi") as video:
        assert video.skip() and video.skip()
        assert np.array_equal(video.read(), read_all(tmp_path / "v.avi")[2])
        assert not video.skip()


def test_a_truncated_video_gives_what_it_has_and_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "v.avi", 40)
    cut(tmp_path / "v.avi", 0.5)
    with caplog.at_level(logging.WARNING):
        frames = read_all(tmp_path / "v.avi")
    assert 10 <= len(frames) <= 22
    assert f"ends after {len(frames)} of 40 frames" in caplog.text


def test_a_whole_video_gives_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "v.avi", 3)
    read_all(tmp_path / "v.avi")
    assert not caplog.records


def test_a_video_without_a_frame_is_lost(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 3)
    content = (tmp_path / "v.avi").read_bytes()
    (tmp_path / "v.avi").write_bytes(content[: content.index(b"movi") + 4])
    with pytest.raises(SourceLost, match=r"v\.avi"):
        read_all(tmp_path / "v.avi")


@pytest.mark.parametrize("content", [b"", b"no video at all", bytes(2000)], ids=["empty", "text", "zeros"])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(SourceLost, match=rf"no video that OpenCV can decode \({len(content)} bytes\)"):
        VideoFile(tmp_path / "v.mp4")


def test_a_missing_video_is_lost(tmp_path: Path) -> None:
    with pytest.raises(SourceLost, match="There is no video at"):
        VideoFile(tmp_path / "v.mp4")
