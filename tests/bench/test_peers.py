"""The comparison with peers: real processes by turns, what fails on the way, and the page that tells of it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnx_ir")
psutil = pytest.importorskip("psutil")

from benchmarks.peers.__main__ import main
from benchmarks.peers.comparison import compare
from benchmarks.peers.entries import ENTRIES, REFERENCE, Entry, chosen
from benchmarks.peers.environments import make_environment, requirements
from benchmarks.peers.goals import goals
from benchmarks.peers.lane import Workplace
from benchmarks.peers.material import Material
from benchmarks.peers.record import PeerRecord, PeersRecord, Ratio, Settings, read_record, write_record
from benchmarks.peers.results import RESULTS, losses, markdown, written_again
from edgeseg.bench.figures import latency_of
from edgeseg.bench.roofline.structs import Ceilings, Layer, Roofline
from edgeseg.data.labelled import find_data_set
from edgeseg.errors import UsageError
from edgeseg.files import sha256_file

#: A peer that finds the bright half of each frame; BODY is run with every frame.
TINY = """
import os, time
import numpy as np

def prepare(variant, given, made):
    (made / "prepared").write_text(variant)

class Tiny:
    settings = {"variant": None}
    frames = 0

    def infer(self, frame, stages):
        self.frames += 1
        BODY
        bright = frame.mean(2) > 127
        stages.mark("inference")
        return bright.astype(np.uint8)

def open_peer(variant, given, made, threads):
    print("libraries print what they like")
    peer = Tiny()
    peer.settings = {"variant": variant, "threads": threads, "prepared": (made / "prepared").read_text()}
    return peer
"""
SIZE_HW, CLASSES, FRAMES = (6, 8), ("dark", "bright"), 4


def tiny_entry(folder: Path, name: str, body: str = "pass") -> Entry:
    folder = folder / name.replace("/", "-")
    folder.mkdir()
    (folder / "peer.py").write_text(TINY.replace("BODY", body))
    return Entry(name, folder, "plain", name.capitalize())


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """Material of a few tiny frames, a row of whose labels is wrong."""
    given = tmp_path / "work" / "given"
    given.mkdir(parents=True)
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, *SIZE_HW, 3)).astype(np.uint8)
    labels = (frames.mean(3) > 127).astype(np.uint8)
    labels[:, 0] = 1 - labels[:, 0]
    np.save(given / "frames.npy", frames)
    np.save(given / "labels.npy", labels)
    (given / "material.json").write_bytes(msgspec.json.encode(MATERIAL))
    return Workplace(tmp_path / "work", tmp_path / "environments", (min(os.sched_getaffinity(0)),))


MATERIAL = Material(
    model="tiny",
    model_sha256="0" * 64,
    data="nowhere",
    classes=CLASSES,
    size_hw=SIZE_HW,
    mean=(128.0,) * 3,
    std=(128.0,) * 3,
    frames=FRAMES,
    frames_sha256="1" * 64,
    calibration=2,
    calibration_sha256="2" * 64,
)
QUICK = Settings(rounds=3, turn_s=0.02)


def unheard(_: str) -> None:
    """Progress that nobody looks at."""


def test_entries_take_turns_on_the_same_cores_and_frames(tmp_path: Path, place: Workplace) -> None:
    entries = [tiny_entry(tmp_path, REFERENCE.name), tiny_entry(tmp_path, "slow", "time.sleep(0.01)")]
    record, samples = compare(entries, MATERIAL, QUICK, place, unheard)
    own, slow = record.entries
    assert record.complete and [own.failed, slow.failed] == ["", ""]
    assert own.settings == {"variant": "plain", "threads": 1, "prepared": "plain"}
    assert own.miou == slow.miou and own.miou is not None and 0 < own.miou < 1
    assert own.ratio is None and slow.ratio is not None and slow.ratio.median > 1
    assert slow.latency is not None and slow.latency.min_ms >= 10 and set(slow.stages) == {"inference"}
    for index in (0, 1):
        assert set(samples[f"{index}.round"]) == {0, 1, 2}, "every round has a turn of each"
        assert len(samples[f"{index}.latency_ms"]) == len(samples[f"{index}.begin_s"])
        assert np.all(samples[f"{index}.inference_ms"] <= samples[f"{index}.latency_ms"])
    first = [[samples[f"{i}.begin_s"][samples[f"{i}.round"] == r][0] for i in (0, 1)] for r in range(3)]
    assert [begins[0] < begins[1] for begins in first] == [True, False, True], "the order goes round"
    path = write_record(record, samples, tmp_path / "record")
    written = sha256_file(path.parent / record.samples)
    assert read_record(path) == msgspec.structs.replace(record, samples_sha256=written)


@pytest.mark.parametrize(
    ("body", "told", "measured"),
    [
        pytest.param(
            "time.sleep(0.01); self.frames > 15 and os._exit(3)",
            "It died with exit code 3 at 'turn'",
            True,
            id="dies midway",
        ),
        pytest.param("os.kill(os.getpid(), 9)", "It died by signal 9 at 'open'", False, id="is killed at the start"),
        pytest.param("1 / 0", "'open' failed: ZeroDivisionError: division by zero", False, id="can't infer"),
        pytest.param(
            "frame = frame[:4]", "'class_maps' failed: ValueError: The class maps are uint8", False, id="wrong size"
        ),
    ],
)
def test_what_fails_is_told_and_the_others_go_on(
    tmp_path: Path, place: Workplace, body: str, told: str, measured: bool
) -> None:
    failing = tiny_entry(tmp_path, "failing", body)
    settings = msgspec.structs.replace(QUICK, rounds=12)
    record, _ = compare([tiny_entry(tmp_path, REFERENCE.name), failing], MATERIAL, settings, place, unheard)
    own, failed = record.entries
    assert own.failed == "" and own.latency is not None and own.latency.samples >= 3
    assert failed.failed.startswith(told) and (failed.latency is not None) == measured
    page = markdown(record, tmp_path)
    assert ("ended midway" if measured else "not measured") in page and failed.failed.splitlines()[0] in page


def test_what_a_peer_started_ends_with_it(tmp_path: Path, place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers.lane.PREPARE_S", 1.0)
    entry = tiny_entry(tmp_path, REFERENCE.name)
    started = "import subprocess; (made / 'pid').write_text(str(subprocess.Popen(['sleep', '60']).pid)); time.sleep(60)"
    (entry.folder / "peer.py").write_text(TINY.replace('(made / "prepared")', f'{started}; (made / "prepared")', 1))
    (own,) = compare([entry], MATERIAL, QUICK, place, unheard)[0].entries
    assert own.failed.startswith("No answer to 'prepare' within 1 s.")
    child = int((place.work / entry.folder.name / "pid").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_peer_that_hangs_is_given_up(tmp_path: Path, place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers.lane.LATE_S", 0.5)
    entries = [
        tiny_entry(tmp_path, REFERENCE.name),
        tiny_entry(tmp_path, "hanging", "self.frames < 9 or time.sleep(60)"),
    ]
    own, hanging = compare(entries, MATERIAL, QUICK, place, unheard)[0].entries
    assert own.failed == "" and hanging.failed.startswith("No answer to 'turn' within 0.52 s.")


@pytest.mark.slow
def test_what_cannot_be_installed_is_on_record(tmp_path: Path, place: Workplace) -> None:
    absent = tiny_entry(tmp_path, "absent")
    (absent.folder / "requirements.txt").write_text(f"{tmp_path}/no-such-package.whl\n")
    record, _ = compare([tiny_entry(tmp_path, REFERENCE.name), absent], MATERIAL, QUICK, place, unheard)
    assert "The environment of absent can't be made: " in record.entries[1].failed
    assert "no-such-package.whl" in record.entries[1].failed and record.entries[0].latency is not None


@pytest.mark.slow
def test_an_environment_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "peer"
    folder.mkdir()
    (folder / "requirements.txt").write_text("# none\n")
    python = make_environment(folder, tmp_path / "environments")
    mark = python.parents[1] / "mark"
    mark.touch()
    assert make_environment(folder, tmp_path / "environments") == python and mark.exists()
    (folder / "requirements.txt").write_text("# none, but other\n")
    make_environment(folder, tmp_path / "environments")
    assert not mark.exists() and requirements(folder) == ()
    tried = subprocess.run([python, "-I", "-c", "import edgeseg"], stderr=subprocess.PIPE, text=True)
    assert "No module named 'edgeseg'" in tried.stderr, "a user of a peer has none"


def test_what_was_prepared_is_made_again_when_its_maker_changes(tmp_path: Path, place: Workplace) -> None:
    entry = tiny_entry(tmp_path, REFERENCE.name)
    done = place.work / entry.folder.name / "prepared"

    def measured() -> float:
        compare([entry], MATERIAL, QUICK, place, unheard)
        return done.stat().st_mtime_ns

    first = measured()
    assert measured() == first
    (entry.folder / "peer.py").write_text(TINY.replace("BODY", "'changed'"))
    assert measured() != first


def test_a_peer_that_changes_meanwhile_does_not_lose_what_was_prepared(tmp_path: Path, place: Workplace) -> None:
    own = tiny_entry(tmp_path, REFERENCE.name)
    second = dataclasses.replace(own, name="second", variant="other")

    def change(told: str) -> None:
        if told.startswith("second: prepare"):
            (own.folder / "peer.py").write_text(TINY.replace("BODY", "'changed'"))

    record, _ = compare([own, second], MATERIAL, QUICK, place, change)
    assert [one.failed for one in record.entries] == ["", ""]
    assert (place.work / own.folder.name / ".plain.prepared").exists()


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path, place: Workplace) -> None:
    def interrupt(told: str) -> None:
        if told.startswith("round 2"):
            raise KeyboardInterrupt

    record, samples = compare([tiny_entry(tmp_path, REFERENCE.name)], MATERIAL, QUICK, place, interrupt)
    assert not record.complete and set(samples["0.round"]) == {0, 1}
    assert "stopped before its time" in markdown(record, tmp_path)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        pytest.param([], [entry.name for entry in ENTRIES], id="all"),
        pytest.param(["ncnn"], ["edgeseg/int8", "ncnn/plain", "ncnn/bf16"], id="a peer"),
        pytest.param(["litert/f*"], ["edgeseg/int8", "litert/float"], id="a pattern"),
    ],
)
def test_entries_are_chosen_by_name(patterns: list[str], expected: list[str]) -> None:
    assert [entry.name for entry in chosen(patterns)] == expected


def test_a_name_that_fits_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="No peer is called 'onnx'") as refused:
        chosen(["onnx"])
    assert "onnxruntime/plain" in refused.value.hint


def peer(name: str, ms: float, miou: float | None, ratio: float | None, **more: Any) -> PeerRecord:
    samples = np.full(40, ms)
    fields: dict[str, Any] = {
        "name": name,
        "title": f"Title of {name}",
        "settings": {"precision": "int8"},
        "versions": {"library": "1.0"},
        "latency": latency_of(samples, (50, 90)),
        "fps": 1e3 / ms,
        "ratio": None if ratio is None else Ratio(median=ratio, interval=(ratio - 0.01, ratio + 0.01)),
        "stages": {"inference": latency_of(samples * 0.9, (50,)), "postprocess": latency_of(samples * 0.1, (50,))},
        "miou": miou,
        "class_iou": {},
    }
    return PeerRecord(**fields | more)


@pytest.fixture
def record(tmp_path: Path, place: Workplace) -> PeersRecord:
    """Of a real run of the reference alone, to which entries are added."""
    return compare([tiny_entry(tmp_path, REFERENCE.name)], MATERIAL, QUICK, place, unheard)[0]


OWN = peer("edgeseg/int8", 10.0, 0.764, None)


@pytest.mark.parametrize(
    ("other", "outside", "lost"),
    [
        pytest.param(peer("model_api/stock", 14.0, 0.763, 1.4), 0.05, [], id="all goals are met"),
        pytest.param(
            peer("model_api/stock", 12.0, 0.763, 1.2),
            0.05,
            ["A goal is missed: at least 1.3 times the FPS of Title of model_api/stock; found 1.20 (1.19 to 1.21)."],
            id="too little faster",
        ),
        pytest.param(
            peer("model_api/tuned", 9.0, 0.763, 0.9),
            0.05,
            [
                "A goal is missed: at least 1 times the FPS of Title of model_api/tuned; found 0.90 (0.89 to 0.91).",
                "Title of model_api/tuned is faster: edgeseg has 0.90 (0.89 to 0.91) of its FPS.",
            ],
            id="slower than a goal allows",
        ),
        pytest.param(
            peer("model_api/tuned", 20.0, 0.768, 2.0),
            0.05,
            [
                "A goal is missed: mIoU at most 0.3 points below Title of model_api/tuned; found -0.40 points.",
                "Title of model_api/tuned is more accurate by 0.40 points of mIoU.",
            ],
            id="less accurate than a goal allows",
        ),
        pytest.param(
            peer("ncnn/plain", 5.0, 0.765, 0.5),
            0.05,
            [
                "Title of ncnn/plain is faster: edgeseg has 0.50 (0.49 to 0.51) of its FPS.",
                "Title of ncnn/plain is more accurate by 0.10 points of mIoU.",
            ],
            id="slower and less accurate where there is no goal",
        ),
        pytest.param(
            peer("ncnn/plain", 50.0, 0.7, 5.0),
            0.2,
            [
                "A goal is missed: less than 10% of the time from frame to class map outside the engine; found 20.0%.",
            ],
            id="too long outside the engine",
        ),
        pytest.param(
            peer("pytorch/eager", 1.0, None, None, latency=None, fps=0.0, stages={}, failed="It is gone."),
            0.05,
            [],
            id="not measured is no loss, and told",
        ),
    ],
)
def test_the_page_tells_where_edgeseg_loses(
    record: PeersRecord, other: PeerRecord, outside: float, lost: list[str], tmp_path: Path
) -> None:
    record = msgspec.structs.replace(record, entries=(OWN, other), outside_share=outside)
    assert [words for _, words in losses(record)] == lost
    page = markdown(record, tmp_path)
    section = page.partition("## Where edgeseg loses")[2].partition("## Where the time goes")[0]
    untold = other.latency is None
    assert all(f"- {words}" in section for words in lost)
    assert ("Nowhere among these." in section) == (not lost and not untold)
    assert (f"- {other.title} was not compared: It is gone." in section) == untold
    about_other = any(entry is other for entry, _ in losses(record))
    row = f"| {other.title} | {1e3 / (other.fps or 1) * 0.9:.2f} |"
    assert (row in section) == about_other and (other.title in section) == (about_other or untold)
    assert page.count("**no**") == sum(words.startswith("A goal") for words in lost)


def test_where_classes_are_picked_at_full_size_edgeseg_may_lose_too(record: PeersRecord, tmp_path: Path) -> None:
    full = peer("edgeseg/int8-full", 8.0, 0.766, 0.8, latency=latency_of(np.linspace(6.0, 10.0, 120), (50, 90)))
    other = peer("litert/int8", 8.5, 0.7, 0.85, latency=latency_of(np.full(120, 8.5), (50, 90)))
    lost = [words for _, words in losses(msgspec.structs.replace(record, entries=(OWN, full, other)))]
    told = "Title of litert/int8 is faster than Title of edgeseg/int8-full at p90: 8.5 against 9.6 ms."
    assert told in lost and not any("at p50" in words for words in lost)


def test_why_a_goal_is_missed_is_told_by_the_roofline(record: PeersRecord, tmp_path: Path) -> None:
    slow = Layer(
        name="conv7", op="Conv 1x1", precision="int8", ran_in="fp32", macs=9_000_000, bytes=1000, bound_ms=0.5,
        limit="compute", measured_ms=2.0, share=0.25,
    )  # fmt: skip
    ceilings = Ceilings(library="a library", threads=2, macs_per_s={"fp32": 1e9}, bytes_per_s={1000: 1e9}, others=0.0)
    roofline = Roofline(
        ceilings=ceilings, macs=18_000_000, bytes=1000, bound_ms=3.5, inference_ms=9.0, share=3.5 / 9, layers=1,
        above=0, held_back_by=(slow,),
    )  # fmt: skip
    other = peer("pytorch/eager", 45.0, 0.7, 4.5)
    page = markdown(msgspec.structs.replace(record, entries=(OWN, other), roofline=roofline), tmp_path)
    assert (
        "found 4.50 (4.49 to 4.51). A frame would have to take 5.00 ms. It takes 10.00, 9.00 of them in the engine, "
        "whose layers would take 3.50 ms at this machine's ceilings."
    ) in page
    assert "| Title of edgeseg/int8 | 9.00 | 1.00 | 10.00 | 2 |" in page, "multiply-adds a second"
    assert "| conv7 | Conv 1x1 | int8, ran in fp32 | 2.000 | 0.500 | 25 % | compute | 9.0 | 1 |" in page


def test_a_goal_that_was_not_measured_is_neither_met_nor_missed(record: PeersRecord) -> None:
    gone = peer("pytorch/eager", 1.0, None, None, latency=None, fps=0.0, failed="It is gone.")
    found = {goal.against: goal for goal in goals(msgspec.structs.replace(record, entries=(OWN, gone)))}
    assert found["pytorch/eager"].met is None and found["pytorch/eager"].found == "not measured"


def test_a_record_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "peers.json").write_text('{"schema": "edgeseg.peers-record/0"}')
    with pytest.raises(UsageError, match=r"is no record of schema edgeseg\.peers-record/1"):
        read_record(tmp_path / "peers.json")


def test_the_page_in_the_repository_is_that_of_its_record() -> None:
    page = RESULTS.read_text()
    assert written_again(page) == page, "python -m benchmarks.peers --page FOLDER writes it"


@pytest.mark.slow
def test_onnx_runtime_computes_the_same_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real peer with its real environment, which is made where it is not there."""
    pytest.importorskip("torch")
    try:
        find_data_set("camvid")
    except UsageError as error:
        pytest.skip(error.message)
    command = (
        "edgeseg build liteseg-efficientnet-lite0-camvid --fp32 --backend onnxruntime --upsample full --duration 1"
    )
    subprocess.run([sys.executable, "-m", *command.split(), "-o", str(tmp_path / "engine")], check=True)
    words = ["--only", "onnxruntime", "--rounds", "2", "--turn", "0.2", "--engine", str(tmp_path / "engine")]
    assert main([*words, "--work", str(tmp_path / "work"), "-o", str(tmp_path / "record")]) == 0
    record = read_record(tmp_path / "record" / "peers.json")
    own, plain = record.entries
    assert plain.failed == own.failed == "" and plain.miou == pytest.approx(own.miou, abs=1e-4)
    assert plain.miou is not None and plain.miou > 0.76 and set(plain.versions) >= {"onnxruntime", "numpy"}
    assert {"preprocess", "inference", "postprocess"} == set(plain.stages) and plain.ratio is not None
    assert record.outside_share is not None and 0 <= record.outside_share < 1
    assert plain.title in capsys.readouterr().out
