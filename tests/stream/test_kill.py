"""A recording process is killed at any time: what has its name is whole, and what was recorded plays."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from pathlib import Path

import cv2
import pytest

from edgeseg.data.video import VideoFile
from edgeseg.errors import SourceLost
from tests.stream.recorder import FPS, FRAMES, record

pytest.importorskip("av", reason="PyAV is not installed: a recording that is killed is lost")

KILLS = 100
#: Files of these suffixes are there, and whole, however the process ended.
PICTURES = ("maps/*.png", "pictures/*.png", "screenshot.png")


@pytest.mark.slow
def test_a_hundred_kills_break_no_file_and_lose_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each process is a copy of one that has imported everything, so that kills hit recordings and not imports.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    rng = random.Random(0)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.stream.recorder"])
    part, lines = tmp_path / "out.recording.mp4", list[dict[str, int]]()
    lost, whole, pictures = [], 0, 0
    for _ in range(KILLS):
        process = processes.Process(target=record, args=(tmp_path,))
        process.start()
        time.sleep(rng.uniform(0.0, 1.0))
        process.kill()
        process.join()
        assert process.exitcode == -9
        pictures = look_at_pictures(tmp_path)
        whole += is_whole(tmp_path / "out.mp4")
        before, lines = lines, lines_in(tmp_path / "areas.jsonl")
        # The last line is of the part that is there, unless a video was just finished, or none begun by this process.
        written, played = lines[-1]["sequence"] + 1 if len(lines) > len(before) else FRAMES, frames_in(part)
        if written < FRAMES and played is not None:
            lost.append(written - played)
    assert len(lost) > KILLS / 2 and whole and pictures > FRAMES, "the kills hit recordings"
    assert max(lost) <= 2 * FPS, "no more than two seconds are ever lost"
    assert sum(frames <= FPS + 1 for frames in lost) >= 0.9 * len(lost), "and mostly no more than one"
    kept = list(tmp_path.glob("out.cut-off-*.mp4"))
    assert len(kept) > KILLS / 4 and sum(bool(frames_in(path)) for path in kept) >= 0.9 * len(kept)


def look_at_pictures(folder: Path) -> int:
    """How many there are, all of which must be whole."""
    paths = [path for pattern in PICTURES for path in folder.glob(pattern) if not path.name.startswith(".")]
    for path in paths:
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), path
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None, path
    return len(paths)


def is_whole(path: Path) -> bool:
    """Whether there is a video, which then must be whole."""
    if path.exists():
        assert frames_in(path) == FRAMES
    return path.exists()


def frames_in(path: Path) -> int | None:
    """How many frames can be decoded; None where there is no file, or an empty one."""
    if not path.exists() or not path.stat().st_size:
        return None
    try:
        with VideoFile(path) as video:
            while video.read() is not None:
                pass
            return video.decoded
    except SourceLost:
        return 0


def lines_in(path: Path) -> list[dict[str, int]]:
    """One for each frame that was written to a video; all but the last one must be whole."""
    content = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in content.split(b"\n")[:-1]]
