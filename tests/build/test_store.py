"""Engines in the store: replaced whole or not at all, whenever the process dies."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from edgeseg.build.store import EngineStore, find_engine
from edgeseg.errors import ModelFileError, UsageError

NAMES = ("net.onnx", "net.onnx.json", "net.onnx.golden-frame.png", "net.onnx.golden-map.png")

REPLACE_FOREVER = """
import sys
from pathlib import Path
from edgeseg.build.store import EngineStore

store = EngineStore(Path(sys.argv[1]))
names = sys.argv[2].split(",")
for generation in range(int(sys.argv[3]), 1_000_000):
    with store.staging() as room:
        made = {}
        for name in names:
            (room / name).write_text(str(generation) * 1000)
            made[name] = room / name
        store.keep(made, "net.onnx")
        print(generation, flush=True)
"""


def put(store: EngineStore, generation: str, pick: str | None = "net.onnx") -> None:
    with store.staging() as room:
        for name in NAMES:
            (room / name).write_text(generation)
        store.keep({name: room / name for name in NAMES}, pick)


def contents(folder: Path) -> set[str]:
    return {(folder / name).read_text() for name in NAMES}


def test_all_files_of_an_engine_come_together(tmp_path: Path) -> None:
    store = EngineStore(tmp_path)
    put(store, "first")
    put(store, "second")
    assert contents(tmp_path) == {"second"}
    assert store.current() == tmp_path / "net.onnx"
    left = {path.name for path in tmp_path.iterdir()} - set(NAMES)
    assert left <= {"current.json", ".lock"}


def test_an_engine_that_may_not_lead_leaves_the_current_one(tmp_path: Path) -> None:
    store = EngineStore(tmp_path)
    put(store, "first")
    with store.staging() as room:
        (room / "other.onnx").write_text("unmeasured")
        store.keep({"other.onnx": room / "other.onnx"}, None)
    assert store.current() == tmp_path / "net.onnx"
    assert (tmp_path / "other.onnx").read_text() == "unmeasured"


def test_killed_at_any_time_the_files_are_all_old_or_all_new(tmp_path: Path) -> None:
    rng, generation = random.Random(1), 0
    for _ in range(8):
        command = [sys.executable, "-c", REPLACE_FOREVER, str(tmp_path), ",".join(NAMES), str(generation)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            generation = int(process.stdout.readline()) + 1
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            generation += len(process.stdout.readlines()) + 1
        with EngineStore(tmp_path).staging():
            assert len(contents(tmp_path)) == 1
        hidden = [path.name for path in tmp_path.iterdir() if path.name.startswith((".building", ".replacing"))]
        assert hidden == []


def test_what_an_aborted_build_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".building-dead").mkdir()
    (tmp_path / ".building-dead" / "half.onnx").write_text("half")
    (tmp_path / ".replacing-dead").mkdir()
    put(EngineStore(tmp_path), "first")
    assert not (tmp_path / ".building-dead").exists()
    assert not (tmp_path / ".replacing-dead").exists()


def test_one_process_builds_at_a_time(tmp_path: Path) -> None:
    with (
        EngineStore(tmp_path).staging(),
        pytest.raises(UsageError, match="Another process builds"),
        EngineStore(tmp_path).staging(wait_s=0.05),
    ):
        pytest.fail("two processes are in the staging")


@pytest.mark.parametrize(
    ("word", "error", "words"),
    [
        pytest.param(None, UsageError, "No engine was built yet", id="nothing was built"),
        pytest.param("nowhere.onnx", UsageError, "no engine 'nowhere.onnx'", id="no such name"),
    ],
)
def test_an_engine_that_is_not_there(tmp_path: Path, word: str | None, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        find_engine(word, tmp_path)


def test_a_damaged_pick_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "current.json").write_text("{")
    with pytest.raises(ModelFileError, match=r"current\.json") as refusal:
        find_engine(None, tmp_path)
    assert "edgeseg build" in refusal.value.hint


def test_a_name_that_fits_two_engines_is_answered_with_both(tmp_path: Path) -> None:
    for name in ("a-1.onnx", "a-2.onnx"):
        (tmp_path / name).write_text("engine")
        (tmp_path / f"{name}.json").write_text("{}")
    with pytest.raises(UsageError, match=r"a-1\.onnx, a-2\.onnx"):
        find_engine("a-", tmp_path)
