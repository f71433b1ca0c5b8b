"""Cameras in processes of their own: frames as they are, and what happens when the process hangs, dies or is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeseg.data.synthetic import parse_synthetic
from edgeseg.errors import EdgesegError, SourceLost, UsageError
from edgeseg.stream.live import LiveSource, Patience
from edgeseg.stream.mailbox import Letter, Mailbox
from edgeseg.stream.source import Captured
from edgeseg.stream.sources.synthetic import SyntheticSource
from edgeseg.stream.worker import _looked_at, _Stillness

SMALL = "synthetic://?width=64&height=48"
QUICK = Patience(stall_s=1.0, pause_s=0.05, longest_pause_s=0.1)


@pytest.fixture
def opened() -> Iterator[list[LiveSource]]:
    """Sources that are closed at the end."""
    found: list[LiveSource] = []
    yield found
    for source in found:
        source.close()


def read(source: LiveSource) -> Captured:
    captured = source.read()
    assert captured is not None
    return captured


def child_of(source: LiveSource) -> int:
    assert source._process is not None
    return source._process._process.pid


def test_its_frames_are_those_of_the_camera(opened: list[LiveSource]) -> None:
    source = LiveSource(f"{SMALL}&fps=50&frames=12&seed=3")
    opened.append(source)
    assert (source.health.state, source.name, source.fps, source.frame_hw, source.total) == (
        "connecting",
        "synthetic",
        50,
        (48, 64),
        12,
    )
    last = -1
    while (captured := source.read()) is not None:
        assert captured.sequence > last
        last = captured.sequence
        wanted = SyntheticSource(parse_synthetic(f"{SMALL}&fps=50&seed=3"), first=last).read()
        assert wanted is not None and wanted.pixels is not None and captured.pixels is not None
        assert np.array_equal(captured.pixels, wanted.pixels)
        assert abs(time.monotonic_ns() - captured.captured_ns) < 1e9
        assert source.health.state == "live"
    assert last == 11, "the last frame is always given"


@pytest.mark.slow
def test_who_reads_slowly_gets_the_newest(opened: list[LiveSource]) -> None:
    source = LiveSource(f"{SMALL}&fps=100")
    opened.append(source)
    first = read(source).sequence
    time.sleep(0.5)
    captured = read(source)
    assert captured.sequence > first + 20
    assert time.monotonic_ns() - captured.captured_ns < 0.2e9


def test_frames_stay_whole_until_five_more_were_read(opened: list[LiveSource]) -> None:
    source = LiveSource(f"{SMALL}&fps=200")
    opened.append(source)
    held: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(20):
        captured = read(source)
        assert captured.pixels is not None
        held = [*held, (captured.pixels, captured.pixels.copy())][-5:]
        time.sleep(0.02)
        assert all(np.array_equal(pixels, copy) for pixels, copy in held)


def test_a_frame_that_is_given_back_makes_room_and_the_others_stay_whole(opened: list[LiveSource]) -> None:
    source = LiveSource(f"{SMALL}&fps=200")
    opened.append(source)
    first = read(source)
    assert first.pixels is not None
    kept, before, last = first.pixels, first.pixels.copy(), None
    for _ in range(20):
        captured = source.read(last)
        assert captured is not None and captured.pixels is not None
        last = captured.pixels
        time.sleep(0.01)
        assert np.array_equal(kept, before), "it was never given back"


def test_a_program_that_never_gives_a_frame_back_loses_no_camera(opened: list[LiveSource]) -> None:
    source = LiveSource(f"{SMALL}&fps=1000&corrupt=0.2")
    opened.append(source)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        read(source)
    assert source.health.reconnects == 0


def test_waiting_for_it_to_open_ends_when_told_to_stop() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        asked = threading.Event()
        threading.Timer(1.5, asked.set).start()
        source = LiveSource(f"http://127.0.0.1:{silent.getsockname()[1]}/", stop=asked.is_set)
        assert source.read() is None and source.health.stalls == 0
        source.close()


def test_the_address_is_not_on_the_command_line_of_its_process(opened: list[LiveSource]) -> None:
    source = LiveSource(f"{SMALL}&fps=20")
    opened.append(source)
    assert b"synthetic" not in Path(f"/proc/{child_of(source)}/cmdline").read_bytes()


def test_no_frame_is_lost_between_opening_and_the_first_reading(opened: list[LiveSource]) -> None:
    source = LiveSource(f"{SMALL}&fps=50&frames=50")
    opened.append(source)
    time.sleep(0.3)
    assert read(source).sequence == 0


def test_a_picture_that_stands_still_is_called_frozen(opened: list[LiveSource]) -> None:
    source = LiveSource(f"{SMALL}&fps=50&freeze_at=10&frames=60", patience=Patience(frozen_s=0.3))
    opened.append(source)
    frozen = []
    while (captured := source.read()) is not None:
        frozen.append((captured.sequence, source.health.frozen))
    assert not any(is_frozen for sequence, is_frozen in frozen if sequence <= 20)
    assert frozen[-1] == (59, True) and source.health.state == "live"


def test_a_camera_that_is_not_there_yet_is_waited_for_when_that_is_asked_for(opened: list[LiveSource]) -> None:
    source = LiveSource("/dev/video99", patience=Patience(wait=True, pause_s=0.05, longest_pause_s=0.1))
    opened.append(source)
    threading.Timer(2.0, source.stop).start()
    assert source.health.state == "connecting" and source.read() is None
    assert source.health.state == "connecting" and "/dev/video99" in source.health.reason
    assert source.health.beats >= 2 and source.health.reconnects == 0


def test_a_camera_that_was_waited_for_is_opened_and_not_reconnected(opened: list[LiveSource]) -> None:
    source = LiveSource(f"{SMALL}&fps=50", patience=Patience(wait=True))
    opened.append(source)
    assert source.health.state == "connecting" and read(source).sequence == 0
    assert (source.health.state, source.health.reconnects, source.name) == ("live", 0, "synthetic")


@pytest.mark.parametrize(
    ("pixels", "usable"),
    [
        pytest.param(np.full((48, 64, 3), 16, np.uint8), False, id="all of one colour, as before the sensor is ready"),
        pytest.param(np.zeros((0, 0, 3), np.uint8), False, id="nothing"),
        pytest.param(None, False, id="damaged"),
        pytest.param(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3), True, id="a picture"),
    ],
)
def test_a_picture_of_nothing_is_given_to_nobody(pixels: np.ndarray | None, usable: bool) -> None:
    captured = Captured(pixels, 0, 0, "frame", "camera")
    assert (_looked_at(captured, _Stillness(5.0))[0] is not None) == usable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "stalls"),
    [
        pytest.param(signal.SIGKILL, 0, id="it is killed"),
        pytest.param(signal.SIGSTOP, 1, id="it hangs"),
        pytest.param(signal.SIGSEGV, 0, id="it crashes"),
    ],
)
def test_a_camera_that_fails_comes_back_and_goes_on(
    harm: signal.Signals, stalls: int, opened: list[LiveSource]
) -> None:
    source = LiveSource(f"{SMALL}&fps=50", patience=QUICK)
    opened.append(source)
    for count in (1, 2):
        before, process = read(source).sequence, child_of(source)
        os.kill(process, harm)
        while child_of(source) == process:
            after = read(source)
        assert after.sequence > before
        assert (source.health.state, source.health.reconnects, source.health.stalls) == ("live", count, count * stalls)
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@pytest.mark.slow
def test_one_that_is_silent_for_too_long_is_opened_again(opened: list[LiveSource]) -> None:
    source = LiveSource(f"{SMALL}&fps=50&stall_at=5&stall_s=60", patience=QUICK)
    opened.append(source)
    while read(source).sequence < 8:
        pass
    assert (source.health.stalls, source.health.reconnects) == (1, 1)


def test_frames_of_another_size_and_damaged_ones_pass(opened: list[LiveSource]) -> None:
    source = LiveSource(f"{SMALL}&fps=60&frames=40&resize_at=20&corrupt=0.3&seed=2")
    opened.append(source)
    found = list(iter(source.read, None))
    shapes = {frame.pixels.shape for frame in found if frame.pixels is not None}
    assert shapes == {(48, 64, 3), (36, 48, 3)}
    assert any(frame.pixels is None for frame in found)


@pytest.mark.slow
def test_it_is_given_up_when_that_is_asked_for(opened: list[LiveSource], monkeypatch: pytest.MonkeyPatch) -> None:
    patience = Patience(stall_s=0.3, open_s=0.5, pause_s=0.02, reconnects=2)
    source = LiveSource(f"{SMALL}&fps=50", patience=patience)
    opened.append(source)
    read(source)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    os.kill(child_of(source), signal.SIGKILL)
    with pytest.raises(SourceLost, match=r"'synthetic' is given up: the camera's process ended"):
        while True:
            read(source)
    assert source.health.state == "lost"


def test_one_that_does_not_open_is_told_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"'fsp' is no option of synthetic://") as caught:
        LiveSource(f"{SMALL}&fsp=50")
    assert "fps" in caught.value.hint


def test_it_ends_where_it_is_told_to_stop() -> None:
    asked: list[int] = []
    source = LiveSource(f"{SMALL}&fps=0.5", stop=lambda: bool(asked))
    asked.append(1)
    begin = time.monotonic()
    assert source.read() is None
    assert time.monotonic() - begin < 1
    source.close()


def test_nothing_is_left_when_it_is_closed() -> None:
    handles, threads = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    for _ in range(5):
        source = LiveSource(f"{SMALL}&fps=50")
        process = child_of(source)
        held = read(source)
        source.close()
        source.close()
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
        assert held.pixels is not None and held.pixels.any(), "a frame that is still held stays readable"
        del held
    assert len(os.listdir("/proc/self/fd")) == handles
    assert len(os.listdir("/proc/self/task")) <= threads, "one of an earlier test may have ended meanwhile"


@pytest.mark.parametrize("is_stopped", [False, True], ids=["while it runs", "while it is stopped"])
def test_it_does_not_outlive_who_opened_it(is_stopped: bool) -> None:
    code = (
        "import time; from edgeseg.stream.live import LiveSource\n"
        f"source = LiveSource('{SMALL}&fps=20'); print(source._process._process.pid, flush=True); time.sleep(60)"
    )
    root = str(Path(__file__).parents[2])
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    assert owner.stdout is not None
    process = int(owner.stdout.readline())
    if is_stopped:
        os.kill(process, signal.SIGSTOP)
        while ") T " not in Path(f"/proc/{process}/stat").read_text():
            time.sleep(0.01)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    end = time.monotonic() + 5
    while Path(f"/proc/{process}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{process}").exists()


def test_a_writer_never_touches_what_is_held_or_newest() -> None:
    handle = Mailbox.create()
    writer, reader = Mailbox(handle), Mailbox(handle)
    os.close(handle)
    assert reader.take() is None
    held: list[Letter] = []
    for sequence in range(100):
        slot = writer.free_slot()
        room = writer.room(slot, (2, 3, 3))
        room[...] = sequence
        writer.leave(slot, Letter(room, sequence, sequence, "sensor"))
        if sequence % 3 == 0:
            letter = reader.take()
            assert letter is not None and letter.sequence == sequence and letter.clock == "sensor"
            assert reader.take() is None, "it was taken already"
            held.append(letter)
            if len(held) == 4:
                returned = held.pop(2)
                assert returned.pixels is not None
                reader.give_back(returned.pixels)
        for letter in held:
            assert letter.pixels is not None and (letter.pixels == letter.sequence).all()
    assert len(held) == 3


def test_a_frame_that_is_too_large_is_refused() -> None:
    handle = Mailbox.create()
    mailbox = Mailbox(handle)
    os.close(handle)
    with pytest.raises(EdgesegError, match=r"16384x8192 pixels is too large"):
        mailbox.room(0, (8192, 16384, 3))
