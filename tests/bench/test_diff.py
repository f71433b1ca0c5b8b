"""Whether a slowdown is found, and noise is not taken for one: on planted samples, on machines that drift."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnx_ir")
pytest.importorskip("psutil")

from edgeseg.backends.fake import FakeSession
from edgeseg.bench import Record, Settings, run_benchmark, write_record
from edgeseg.bench.diff import Measured, differ
from edgeseg.bench.record import Conditions
from edgeseg.cli import main
from edgeseg.errors import EdgesegError, UsageError
from tests.engines import tiny_engine

QUICK = Settings(warm_up_s=0, duration_s=0, iterations=3, camera_hw=(64, 96))
Samples = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run_benchmark({"one": tiny_engine(tmp_path_factory.mktemp("one"), "fake")}, QUICK).record


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Record:
    engine = tiny_engine(tmp_path_factory.mktemp("two"), "fake")
    return run_benchmark({"old": engine, "new": engine}, QUICK).record


def measured(seed: int, factors: tuple[float, ...], *, seconds: float = 60.0, machine: float = 1.0) -> Samples:
    """Latencies of a machine whose speed wanders by a tenth, with frames that take twice as long now and then."""
    rng = np.random.default_rng(seed)
    period = 0.02 * len(factors)
    begins = np.arange(0, seconds, period)

    def slowness(at: np.ndarray) -> np.ndarray:
        return machine * (1 + 0.1 * np.sin(at / 7 + seed) * np.sin(at / 1.9))

    def noise(count: int) -> np.ndarray:
        return rng.normal(1, 0.03, count) * np.where(rng.random(count) < 0.05, 2.0, 1.0)

    found = {}
    for index, factor in enumerate(factors):
        found[f"{index}.begin_s"] = begins
        found[f"{index}.latency_ms"] = 20 * factor * slowness(begins) * noise(len(begins))
    at = np.arange(0, seconds, 0.5)
    return found | {"reference.begin_s": at, "reference.ms": 2 * slowness(at) * noise(len(at))}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "no difference"), (1.1, "slower"), (0.9, "faster")])
def test_engines_that_were_measured_in_turns(two: Record, seed: int, factor: float, verdict: str) -> None:
    samples = measured(seed, (1.0, factor))
    found = differ(Measured(two, 0, samples), Measured(two, 1, samples))
    assert (found.verdict, found.how) == (verdict, "in turns")
    assert found.ratio == pytest.approx(factor, abs=0.02)
    assert found.interval[0] <= found.ratio <= found.interval[1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "no difference"), (1.15, "slower"), (0.85, "faster")])
def test_two_records_by_the_reference_kernel(one: Record, seed: int, factor: float, verdict: str) -> None:
    """The machine itself is a fifth slower the second time."""
    later = msgspec.structs.replace(one, created="later")
    old = Measured(one, 0, measured(seed, (1.0,)))
    new = Measured(later, 0, measured(seed + 100, (factor,), machine=1.2))
    found = differ(old, new)
    assert (found.verdict, found.how) == (verdict, "by the reference kernel")
    assert found.new_ms > 1.15 * factor * found.old_ms


def watched(record: Record, busy: range) -> Record:
    """The record of a minute in whose seconds of that range others kept a core busy."""
    seconds = [float(at) for at in range(60)]
    told = dict.fromkeys(Conditions.__struct_fields__, [None] * 60)
    told |= {"seconds": seconds, "others": [float(at in busy) for at in range(60)], "rss_mb": [100.0] * 60}
    conditions = msgspec.convert(told, Conditions)
    return msgspec.structs.replace(
        record, environment=msgspec.structs.replace(record.environment, conditions=conditions)
    )


@pytest.mark.parametrize(
    ("busy", "factor", "verdict"),
    [
        pytest.param(range(20), 1.0, "no difference", id="a third of the time, no slowdown"),
        pytest.param(range(20), 1.15, "slower", id="a third of the time, a slowdown"),
        pytest.param(range(55), 1.0, "undecided", id="nearly always, no slowdown"),
        pytest.param(range(55), 1.15, "undecided", id="nearly always, a slowdown"),
    ],
)
def test_blocks_in_which_others_were_busy_decide_nothing(one: Record, busy: range, factor: float, verdict: str) -> None:
    samples = measured(7, (factor,))
    disturbed = samples["0.begin_s"] < busy.stop
    samples["0.latency_ms"][disturbed] *= 1.8
    samples["reference.ms"][samples["reference.begin_s"] < busy.stop] *= 1.1
    found = differ(Measured(one, 0, measured(8, (1.0,))), Measured(watched(one, busy), 0, samples))
    assert found.verdict == verdict
    assert any("nothing is decided" in note for note in found.notes) == (verdict == "undecided")


@pytest.mark.parametrize(
    ("seconds", "others", "blocks"),
    [
        pytest.param(
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0, 0, 0, 1, 0, 0], {1, 2}, id="a look is of the second before it"
        ),
        pytest.param([0.0, 6.0, 12.0], [0, 1, 0], {3, 4, 5, 6}, id="one look is kept for six"),
        pytest.param([0.0], [1], {0}, id="one look alone"),
        pytest.param([], [], set(), id="none at all"),
    ],
)
def test_the_blocks_that_a_busy_look_spoils(
    one: Record, seconds: list[float], others: list[float], blocks: set[int]
) -> None:
    told: dict[str, Any] = dict.fromkeys(Conditions.__struct_fields__, [None] * len(seconds))
    told |= {"seconds": seconds, "others": others, "rss_mb": [1.0] * len(seconds)}
    environment = msgspec.structs.replace(one.environment, conditions=msgspec.convert(told, Conditions))
    assert Measured(msgspec.structs.replace(one, environment=environment), 0, {}).disturbed() == blocks


def other_machine(record: Record) -> Record:
    device = msgspec.structs.replace(record.environment.device, cpu="Another CPU")
    return msgspec.structs.replace(record, environment=msgspec.structs.replace(record.environment, device=device))


def other_scenario(record: Record) -> Record:
    return msgspec.structs.replace(record, settings=msgspec.structs.replace(record.settings, scenario="camera"))


def other_frames(record: Record) -> Record:
    return msgspec.structs.replace(record, settings=msgspec.structs.replace(record.settings, camera_hw=(1080, 1920)))


def other_mode(record: Record) -> Record:
    before = msgspec.structs.replace(record.environment.before, power_mode="MAXN")
    return msgspec.structs.replace(record, environment=msgspec.structs.replace(record.environment, before=before))


def other_threads(record: Record) -> Record:
    engines = tuple(msgspec.structs.replace(one, execution={"threads": 7}) for one in record.engines)
    return msgspec.structs.replace(record, engines=engines)


@pytest.mark.parametrize(
    ("change", "seconds", "said"),
    [
        pytest.param(other_machine, 60, "different machines", id="another machine"),
        pytest.param(other_scenario, 60, "scenario", id="another scenario"),
        pytest.param(other_frames, 60, "different camera_hw", id="frames of another size"),
        pytest.param(other_mode, 60, "power modes: none, MAXN", id="another power mode"),
        pytest.param(other_threads, 60, "the other with 7", id="other threads"),
        pytest.param(lambda record: msgspec.structs.replace(record), 5, "too short a time", id="a few seconds"),
    ],
)
def test_what_can_not_be_compared_is_refused(one: Record, change: Any, seconds: float, said: str) -> None:
    samples = measured(0, (1.0,), seconds=seconds)
    with pytest.raises(UsageError, match=said):
        differ(Measured(one, 0, samples), Measured(change(one), 0, samples))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("band", "verdict"),
    [
        pytest.param(None, "no difference", id="by default"),
        pytest.param(0.02, "slower", id="where less is asked for"),
        pytest.param(0.2, "no difference", id="where more is"),
    ],
)
def test_of_two_records_a_change_within_the_band_is_noise(
    one: Record, seed: int, band: float | None, verdict: str
) -> None:
    later = msgspec.structs.replace(one, created="later")
    found = differ(Measured(one, 0, measured(seed, (1.0,))), Measured(later, 0, measured(seed, (1.07,))), band=band)
    assert found.verdict == verdict and found.ratio == pytest.approx(1.07, abs=0.02)


@pytest.mark.parametrize(
    ("together", "said"),
    [
        pytest.param(False, "measure both in turns", id="two records"),
        pytest.param(True, "measure them for longer", id="in turns"),
    ],
)
def test_what_is_neither_shown_nor_ruled_out_is_undecided(one: Record, two: Record, together: bool, said: str) -> None:
    """Blocks of a quarter more and a quarter less by turns, whatever the median over them is."""
    samples = measured(1, (1.0, 1.0) if together else (1.0,), seconds=20)
    last, begins = f"{int(together)}.latency_ms", samples[f"{int(together)}.begin_s"]
    swings = np.where((begins // 4) % 2, 1.25, 0.8)
    later = msgspec.structs.replace(one, created="later")
    old, new = (two, two) if together else (one, later)
    changed = samples | {last: samples[last] * swings}
    found = differ(Measured(old, 0, changed if together else samples), Measured(new, int(together), changed))
    assert found.verdict == "undecided" and any(said in note for note in found.notes)


def test_an_engine_that_failed_before_its_first_frame_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: FakeSession, slot: int) -> dict[str, float]:
        raise EdgesegError("the accelerator is gone")

    engines = {name: tiny_engine(tmp_path, name) for name in ("onnxruntime", "fake")}
    monkeypatch.setattr(FakeSession, "_finish", fails)
    done = run_benchmark(engines, QUICK)
    with pytest.raises(UsageError, match="There are no samples of fake"):
        differ(Measured(done.record, 0, done.samples), Measured(done.record, 1, done.samples))


def test_engines_before_a_camera_are_not_compared_with_each_other(two: Record) -> None:
    watched = msgspec.structs.replace(two, settings=msgspec.structs.replace(two.settings, scenario="camera"))
    samples = measured(0, (1.0, 1.0))
    with pytest.raises(UsageError, match="turns of some seconds"):
        differ(Measured(watched, 0, samples), Measured(watched, 1, samples))


def test_in_turns_the_band_that_is_asked_for_decides(two: Record) -> None:
    samples = measured(0, (1.0, 1.07))
    old, new = Measured(two, 0, samples), Measured(two, 1, samples)
    assert differ(old, new).verdict == "slower" and differ(old, new, band=0.2).verdict == "no difference"


def test_another_reference_kernel_decides_nothing(one: Record) -> None:
    before = msgspec.structs.replace(one, environment=msgspec.structs.replace(one.environment, reference_version=1))
    found = differ(Measured(before, 0, measured(0, (1.0,))), Measured(one, 0, measured(1, (1.5,))))
    assert found.verdict == "undecided" and any("different versions" in note for note in found.notes)


def test_most_frames_decide_however_fast_the_others_are(one: Record) -> None:
    """Three frames in five take twice as long: a quarter of the frames are as before."""
    samples = measured(1, (1.0,))
    slower = np.random.default_rng(2).random(len(samples["0.latency_ms"])) < 0.6
    changed = samples | {"0.latency_ms": samples["0.latency_ms"] * np.where(slower, 2.0, 1.0)}
    later = msgspec.structs.replace(one, created="later")
    found = differ(Measured(one, 0, samples), Measured(later, 0, changed))
    assert found.verdict == "slower" and found.ratio > 1.5


@pytest.mark.parametrize("together", [True, False], ids=["in turns", "two records"])
@pytest.mark.parametrize("share", [0.0, 0.15], ids=["as before", "a seventh of the frames five times as slow"])
def test_slow_frames_that_became_slower_are_told(one: Record, two: Record, together: bool, share: float) -> None:
    samples = measured(1, (1.0, 1.0) if together else (1.0,))
    last = f"{int(together)}.latency_ms"
    slower = np.random.default_rng(2).random(len(samples[last])) < share
    changed = samples | {last: samples[last] * np.where(slower, 5.0, 1.0)}
    later = msgspec.structs.replace(one, created="later")
    old, new = (two, two) if together else (one, later)
    found = differ(Measured(old, 0, changed if together else samples), Measured(new, int(together), changed))
    assert any("slow frames changed otherwise" in note for note in found.notes) == (share > 0)


def test_engines_of_one_record_have_its_doubts_once(two: Record) -> None:
    failed = msgspec.structs.replace(two.engines[1], failed="RuntimeError: boom")
    throttled = msgspec.structs.replace(two.environment, flags=("The machine was throttled.",))
    doubtful = msgspec.structs.replace(two, engines=(two.engines[0], failed), environment=throttled, complete=False)
    samples = measured(1, (1.0, 1.0))
    found = differ(Measured(doubtful, 0, samples), Measured(doubtful, 1, samples))
    assert found.notes == (
        "it was stopped before its time.",
        "new failed: RuntimeError: boom",
        "The machine was throttled.",
    )


def test_with_another_opencv_the_reference_kernel_decides_nothing(one: Record) -> None:
    versions = one.environment.versions | {"opencv-python-headless": "0.1"}
    later = msgspec.structs.replace(one, environment=msgspec.structs.replace(one.environment, versions=versions))
    found = differ(Measured(one, 0, measured(0, (1.0,))), Measured(later, 0, measured(1, (1.5,))))
    assert found.verdict == "undecided" and any("different versions" in note for note in found.notes)


def test_turns_that_were_too_few_are_told_as_such(two: Record) -> None:
    samples = measured(0, (1.0, 1.0), seconds=5)
    with pytest.raises(UsageError, match="too short a time"):
        differ(Measured(two, 0, samples), Measured(two, 1, samples))


def test_a_machine_that_is_another_speed_is_named(one: Record) -> None:
    slow = msgspec.structs.replace(one.environment, reference_ms=2 * (one.environment.reference_ms or 0))
    later = msgspec.structs.replace(one, environment=slow)
    found = differ(Measured(one, 0, measured(0, (1.0,))), Measured(later, 0, measured(1, (1.0,))))
    assert any("2.00 times as slow the second time" in note for note in found.notes)


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.1, 7)])
def test_a_regression_ends_the_command_with_7(
    two: Record, factor: float, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(two, measured(3, (1.0, factor)), tmp_path)
    assert main(["report", str(tmp_path), "--diff"]) == code
    printed = capsys.readouterr()
    assert ("slower" in printed.out) == ("new is" in printed.err) == bool(code)
    assert main(["report", str(tmp_path), "--diff", "--json"]) == code
    told = msgspec.json.decode(capsys.readouterr().out)
    assert (told["verdict"] == "slower") == ("error" in told) == bool(code), "one object, whatever was found"


def test_records_of_different_machines_are_marked_on_the_page(
    one: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(one, measured(0, (1.0,)), tmp_path / "a")
    write_record(other_machine(one), measured(1, (1.0,)), tmp_path / "b")
    assert main(["report", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "page")]) == 0
    text = (tmp_path / "page/report.html").read_text()
    capsys.readouterr()
    assert main(["report", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "page"), "--json"]) == 0
    assert "not comparable" in msgspec.json.decode(capsys.readouterr().out)["notes"][0]
    assert "different machines and not comparable" in text and text.count("<svg") >= 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["."], "-o DIR, or --diff", id="nothing asked for"),
        pytest.param([".", "--diff"], "no record", id="no record in the folder"),
        pytest.param(["absent", "--diff"], "absent", id="no folder"),
    ],
)
def test_what_can_not_be_reported_is_refused(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", *words]) == 2
    assert said in capsys.readouterr().err


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def without_times(path: Path) -> None:
    with np.load(path) as arrays:
        kept = {name: array for name, array in arrays.items() if name != "0.begin_s"}
    np.savez(path, **kept)


def one_time_more(path: Path) -> None:
    with np.load(path) as arrays:
        kept = dict(arrays)
    np.savez(path, **kept | {"0.begin_s": np.append(kept["0.begin_s"], 99.0)})


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.write_bytes(b"not an archive"), id="something else"),
        pytest.param(lambda path: path.unlink(), id="gone"),
        pytest.param(cut_off, id="cut off"),
        pytest.param(without_times, id="an array is missing"),
        pytest.param(one_array, id="an array alone"),
        pytest.param(one_time_more, id="arrays of other lengths"),
    ],
)
@pytest.mark.parametrize("tied", [True, False], ids=["with their hash", "of a record without one"])
def test_samples_that_are_spoiled_are_told(
    spoil: Callable[[Path], object], tied: bool, one: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_record(one, measured(0, (1.0,)), tmp_path)
    if not tied:
        path.write_bytes(msgspec.json.encode(one))
    spoil(tmp_path / one.samples)
    assert main(["report", str(path), "-o", str(tmp_path / "page")]) == 2
    assert "samples" in capsys.readouterr().err


def test_samples_of_another_run_are_told(one: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_record(one, measured(0, (1.0,)), tmp_path)
    np.savez(tmp_path / one.samples, **measured(1, (1.0,)))  # type: ignore[arg-type]
    assert main(["report", str(path), "-o", str(tmp_path / "page")]) == 2
    assert "not the one that was written with the record" in capsys.readouterr().err
