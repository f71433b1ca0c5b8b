"""What each class covers, as lines of JSON."""

from __future__ import annotations

import contextlib
import datetime
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.errors import EdgesegError
from edgeseg.labels import VOID
from edgeseg.stream.sinks.jsonl import AreaLines
from tests.stream.parts import LABELS, segmented

PICTURE = np.zeros((10, 20, 3), np.uint8)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def give(path: Path, class_map: np.ndarray, count: int = 1) -> None:
    with contextlib.closing(AreaLines(path, LABELS)) as sink:
        for number in range(count):
            sink.write(segmented(PICTURE, number, class_map=class_map, captured_ns=time.monotonic_ns()))


def test_a_line_tells_the_share_of_each_class_that_occurs(tmp_path: Path) -> None:
    class_map = np.zeros((10, 20), np.uint8)
    class_map[5:] = 2
    class_map[9] = VOID
    give(tmp_path / "deep" / "areas.jsonl", class_map, 2)
    first, second = lines_of(tmp_path / "deep" / "areas.jsonl")
    assert first["area"] == {"ground": 0.5, "car": 0.4} and first["unknown"] == 0.1
    assert (first["source"], first["sequence"], first["clock"], second["sequence"]) == ("test", 0, "read", 1)
    assert first["age_ms"] >= 0


def test_unknown_is_left_out_where_there_is_none(tmp_path: Path) -> None:
    give(tmp_path / "areas.jsonl", np.full((10, 20), 3, np.uint8))
    (line,) = lines_of(tmp_path / "areas.jsonl")
    assert "unknown" not in line and line["area"] == {"sky": 1.0}


def test_a_frame_bears_the_wall_time_of_its_capture(tmp_path: Path) -> None:
    with contextlib.closing(AreaLines(tmp_path / "areas.jsonl", LABELS)) as sink:
        now = time.time()
        captured_ns = time.monotonic_ns() - 3_600_000_000_000
        sink.write(segmented(PICTURE, captured_ns=captured_ns))
        sink.write(segmented(PICTURE, 1, captured_ns=captured_ns + 1_234_000_000))
    first, second = lines_of(tmp_path / "areas.jsonl")
    assert first["captured_at"].endswith("Z") and first["age_ms"] >= 3_600_000
    times = [datetime.datetime.fromisoformat(line["captured_at"].replace("Z", "+00:00")) for line in (first, second)]
    assert times[0].timestamp() == pytest.approx(now - 3600, abs=60)
    assert (times[1] - times[0]).total_seconds() == pytest.approx(1.234, abs=0.0011)


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        pytest.param(b"", b"", id="an empty file"),
        pytest.param(b'{"a": 1}\n', b'{"a": 1}\n', id="whole lines"),
        pytest.param(b'{"a": 1}\n{"a": 2, "ar', b'{"a": 1}\n', id="half a line at the end"),
        pytest.param(b'{"ar', b"", id="half a line alone"),
        pytest.param(b'{"a": 1}\n{"a": 2}', b'{"a": 1}\n{"a": 2}\n', id="a whole line without its end"),
    ],
)
def test_lines_are_added_to_those_that_are_there(before: bytes, kept: bytes, tmp_path: Path) -> None:
    path = tmp_path / "areas.jsonl"
    path.write_bytes(before)
    AreaLines(path, LABELS).close()
    assert path.read_bytes() == kept
    give(path, np.zeros((10, 20), np.uint8), 2)
    assert path.read_bytes().startswith(kept) and len(lines_of(path)) == kept.count(b"\n") + 2


def test_what_is_no_list_of_lines_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "areas.jsonl"
    content = b"\x00" * (1 << 21)
    path.write_bytes(content)
    with pytest.raises(EdgesegError, match="no JSON"):
        AreaLines(path, LABELS)
    assert path.read_bytes() == content


def test_lines_can_be_read_while_the_file_grows(tmp_path: Path) -> None:
    with contextlib.closing(AreaLines(tmp_path / "areas.jsonl", LABELS)) as sink:
        for number in range(3):
            sink.write(segmented(PICTURE, number))
            assert len(lines_of(tmp_path / "areas.jsonl")) == number + 1


def test_a_second_process_is_told_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "areas.jsonl"
    with contextlib.closing(AreaLines(path, LABELS)) as sink:
        sink.write(segmented(PICTURE))
        with pytest.raises(EdgesegError, match="Another process is writing"):
            AreaLines(path, LABELS)
    assert len(lines_of(path)) == 1


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "areas.jsonl"
    code = (
        "import resource, sys, numpy as np; from pathlib import Path\n"
        "from edgeseg.stream.sinks.jsonl import AreaLines\n"
        "from tests.stream.parts import LABELS, segmented\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "sink = AreaLines(Path(sys.argv[1]), LABELS)\n"
        "try:\n"
        "    for number in range(100): sink.write(segmented(np.zeros((9, 9, 3), np.uint8), number))\n"
        "except OSError as error: print(error)\n"
        "sink.close()"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "the disk took only a part of a line" in done.stdout, done.stderr
    assert [line["sequence"] for line in lines_of(path)] == list(range(len(lines_of(path)))) and lines_of(path)


def test_a_file_that_somebody_removed_is_told_at_once(tmp_path: Path) -> None:
    lines = AreaLines(tmp_path / "area.jsonl", LABELS)
    lines.write(segmented(np.zeros((4, 4, 3), np.uint8)))
    (tmp_path / "area.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match="removed"):
        lines.write(segmented(np.zeros((4, 4, 3), np.uint8), 1))
    lines.close()
