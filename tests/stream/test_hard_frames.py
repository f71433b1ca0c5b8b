"""Hard frames: which are kept, how they compete with earlier runs, and what a kill or a full disk leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from edgeseg.data.scene import Scene
from edgeseg.errors import UsageError
from edgeseg.stream.report import Dropped, FrameAge, StreamReport
from edgeseg.stream.sink import Segmented
from edgeseg.stream.sinks.hard import HardFrames
from edgeseg.stream.source import Captured

NAN = float("nan")
REPORT = StreamReport(
    announced=None, captured=0, inferred=0, shown=0, dropped=Dropped(), fps=0.0, recent_fps=0.0,
    frame_age_ms=FrameAge(NAN, NAN, NAN), class_map_age_ms=FrameAge(NAN, NAN, NAN), cold_start_ms=None, stage_ms={},
    stalls=0, reconnects=0, sources=[], outputs=[], failed={},
)  # fmt: skip


#: Frames of a file are told apart by this many a second; with them a sink waits for its thread, so that all is known.
FPS = 1000.0


def segmented(
    margin: float | None, at_s: float, *, name: str = "", sequence: int | None = None, pixels: np.ndarray | None = None
) -> Segmented:
    """A frame that was captured `at_s` seconds after the machine's start; its grey level is its margin in percent."""
    if pixels is None:
        pixels = np.full((12, 16, 3), round(100 * (margin or 0)), np.uint8)
    number = round(at_s * FPS) if sequence is None else sequence
    frame = Captured(pixels, number, round(at_s * 1e9), name or f"front-{at_s:06.2f}", "front")
    class_map = np.zeros(pixels.shape[:2], np.uint8)
    return Segmented(frame, pixels, class_map, 20.0, {}, margin, REPORT, lambda segmented: segmented.frame)


def keep(folder: Path, frames: list[tuple[float, float]], count: int = 3) -> None:
    """Give a sink frames of these margins at these seconds."""
    sink = HardFrames(folder, count, FPS)
    for margin, at_s in frames:
        sink.write(segmented(margin, at_s))
    sink.close()
    sink.close()


def margins(folder: Path) -> list[float]:
    """Of the pictures in the folder, in the order of their names; each is whole."""
    found = []
    for path in sorted(folder.glob("[!.]*.png")):
        picture = cv2.imread(str(path))
        assert (picture == round(100 * float(path.name[:6]))).all()
        found.append(float(path.name[:6]))
    return found


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param([], [], id="no frame"),
        pytest.param([(0.5, 10)], [0.5], id="one"),
        pytest.param([(0.5, 10), (0.2, 11), (0.9, 12)], [0.2, 0.5, 0.9], id="as many as are kept, the hardest first"),
        pytest.param(
            [(0.5, 10), (0.2, 11), (0.9, 12), (0.3, 13)], [0.2, 0.3, 0.5], id="a harder one: the easiest goes"
        ),
        pytest.param([(0.5, 10), (0.2, 11), (0.3, 12), (0.9, 13)], [0.2, 0.3, 0.5], id="an easier one is not kept"),
        pytest.param([(0.5, 10), (0.2, 10.3), (0.4, 10.6)], [0.2], id="of one second the hardest"),
        pytest.param([(0.5, 10), (0.2, 10.9), (0.1, 11.5), (0.3, 11.9)], [0.2, 0.3], id="never two within a second"),
        pytest.param([(0.2, 10), (0.2, 11), (0.2, 12), (0.2, 13)], [0.2, 0.2, 0.2], id="all alike: the first stay"),
        pytest.param([(0.5, 10), (0.4, 5)], [0.4, 0.5], id="a clock that goes back"),
    ],
)
def test_the_hardest_are_kept(tmp_path: Path, frames: list[tuple[float, float]], expected: list[float]) -> None:
    keep(tmp_path, frames)
    assert margins(tmp_path) == expected


def test_names_tell_margin_time_and_frame(tmp_path: Path) -> None:
    sink = HardFrames(tmp_path, 3)
    sink.write(segmented(0.12345, time.monotonic(), name="../day 1/front:000012"))
    sink.close()
    (path,) = tmp_path.glob("[!.]*")
    now = time.strftime("%Y%m%d", time.gmtime())
    assert path.name.startswith(f"0.1235-{now}T") or path.name.startswith("0.1234-")
    assert path.name.endswith("Z-..-day-1-front-000012.png")


def test_the_picture_is_the_cameras_frame(tmp_path: Path) -> None:
    frame = Scene((48, 64)).render(3)
    bgrx = np.dstack([frame, np.zeros((48, 64), np.uint8)])
    sink = HardFrames(tmp_path, 3, FPS)
    for at_s, pixels in ((10, frame), (20, bgrx)):
        sink.write(segmented(0.5, at_s, pixels=pixels))
    sink.close()
    assert [np.array_equal(cv2.imread(str(path)), frame) for path in tmp_path.glob("[!.]*")] == [True, True]


def test_frames_may_change_their_size(tmp_path: Path) -> None:
    sink = HardFrames(tmp_path, 3, FPS)
    for at_s, size_hw in ((10, (20, 30)), (11, (40, 50)), (12, (20, 30))):
        sink.write(segmented(0.5, at_s, pixels=np.zeros((*size_hw, 3), np.uint8)))
    sink.close()
    shapes = [cv2.imread(str(path)).shape[:2] for path in sorted(tmp_path.glob("[!.]*"))]
    assert shapes == [(20, 30), (40, 50), (20, 30)]


def test_a_buffer_that_is_used_again_does_not_change_what_is_kept(tmp_path: Path) -> None:
    sink, pixels = HardFrames(tmp_path, 3, FPS), np.zeros((12, 16, 3), np.uint8)
    for margin, at_s in ((0.5, 10), (0.9, 10.2), (0.2, 11.1), (0.8, 12.2)):
        pixels[:] = round(100 * margin)
        sink.write(segmented(margin, at_s, pixels=pixels))
    sink.close()
    assert margins(tmp_path) == [0.2, 0.5, 0.8]


def test_frames_of_a_file_are_as_far_apart_as_they_were_recorded(tmp_path: Path) -> None:
    sink = HardFrames(tmp_path, 9, 25.0)
    for number in range(75):
        sink.write(segmented((number % 25 + 1) / 100, 10, sequence=number))
    sink.close()
    assert margins(tmp_path) == [0.01, 0.01, 0.01]


def test_a_camera_is_never_waited_for(tmp_path: Path) -> None:
    """Its frames come faster than they can be written: the hardest is, once there is time."""
    noise = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    sink = HardFrames(tmp_path, 9)
    for number in range(6):
        sink.write(segmented(0.9 - number / 10, 10 + 2 * number, pixels=noise))
    assert len(list(tmp_path.glob("[!.]*.png"))) < 5
    sink.close()
    hardest = sorted(tmp_path.glob("[!.]*"))[0]
    assert hardest.name.startswith("0.4000")
    assert np.array_equal(cv2.imread(str(hardest)), noise)


def test_an_earlier_run_competes(tmp_path: Path) -> None:
    keep(tmp_path, [(0.5, 10), (0.2, 12), (0.8, 14)])
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "0.9-mine.png").write_bytes(b"mine")
    keep(tmp_path, [(0.6, 110), (0.9, 112)])
    assert {path.name for path in tmp_path.glob("[!.]*")} >= {"notes.txt", "0.9-mine.png"}
    (tmp_path / "0.9-mine.png").unlink()
    assert margins(tmp_path) == [0.2, 0.5, 0.6]
    keep(tmp_path, [(0.1, 210)], count=2)
    assert margins(tmp_path) == [0.1, 0.2], "and fewer may be asked for"


def test_while_nothing_comes_the_hardest_frame_is_written(tmp_path: Path) -> None:
    sink = HardFrames(tmp_path, 3)
    sink.write(segmented(0.5, 10))
    sink.idle(REPORT)
    deadline = time.monotonic() + 10
    while not margins(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert margins(tmp_path) == [0.5]
    sink.close()


def test_class_maps_tell_no_margin(tmp_path: Path) -> None:
    sink = HardFrames(tmp_path, 3)
    with pytest.raises(UsageError, match="margin"):
        sink.write(segmented(None, 10))
    sink.close()


@pytest.mark.parametrize("count", [0, -1])
def test_no_frame_at_all_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(UsageError, match="1 and more"):
        HardFrames(tmp_path, count)


def test_a_folder_that_is_gone_is_told_and_closing_ends_the_thread(tmp_path: Path) -> None:
    folder = tmp_path / "hard"
    sink = HardFrames(folder, 3)
    shutil.rmtree(folder)
    folder.write_text("a file in its place")
    with pytest.raises(OSError):
        for at_s in range(10, 20):
            sink.write(segmented(0.5, at_s))
            time.sleep(0.05)
    with pytest.raises(OSError):
        sink.write(segmented(0.4, 30))
        sink.close()
    sink.close()


def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that is full."""
    pytest.importorskip("resource")
    keep(tmp_path, [(0.5, 10)])
    program = (
        "import resource, signal, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from edgeseg.stream.sinks.hard import HardFrames\n"
        "from tests.stream.test_hard_frames import segmented\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "sink = HardFrames(Path(sys.argv[1]), 1)\n"
        "noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)\n"
        "sink.write(segmented(0.1, 50, pixels=noise))\n"
        "try:\n    sink.close()\nexcept OSError:\n    print('told')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["told"]
    assert len(list(tmp_path.glob("[!.]*"))) == 1
    assert margins(tmp_path) == [0.5]


WRITER = """
import sys
from pathlib import Path
import numpy as np
from edgeseg.stream.sinks.hard import HardFrames
from tests.stream.test_hard_frames import segmented
sink = HardFrames(Path(sys.argv[1]), 4, fps=1)
frame = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
for number in range(10000):
    sink.write(segmented(0.9 - number / 20000, 10, sequence=number, pixels=frame))
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [pytest.param(9, id="early"), pytest.param(20, id="in the middle of it")])
def test_a_kill_leaves_whole_pictures_and_the_next_run_tidies_up(tmp_path: Path, after: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= after:
                os.kill(process.pid, signal.SIGKILL)
                break
    pictures = list(tmp_path.glob("[!.]*.png"))
    assert 4 <= len(pictures) <= 5, "the new one is there before the old one goes"
    assert all(cv2.imread(str(path)).shape == (240, 320, 3) for path in pictures)
    HardFrames(tmp_path, 4).close()
    assert list(tmp_path.glob(".[01]*")) == []


def test_one_folder_is_of_one_process(tmp_path: Path) -> None:
    first = HardFrames(tmp_path, 3)
    with pytest.raises(UsageError, match="Another process keeps its hard frames"):
        HardFrames(tmp_path, 3)
    first.close()
    HardFrames(tmp_path, 3).close()
