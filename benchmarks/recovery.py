"""How fast a network camera is back after it failed: a real RTSP server is killed and restarted, and made to hang.

    python benchmarks/recovery.py -o benchmarks/records/2026-11-23-amd-epyc/recovery.json [--kills 20] [--hangs 5]

Times are seconds: from the fault until the source calls itself stalled, and from the server's return until the first new
frame was read. The source is as patient as `edgeseg run` has it by default. It needs GStreamer's RTSP server.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgeseg import __version__
from edgeseg.device import Device, describe_device
from edgeseg.files import write_bytes
from edgeseg.stream import Patience, Source, open_source
from edgeseg.stream.sources.opening import patience_with

SCRIPT = Path(__file__).parents[1] / "tests" / "stream" / "rtsp_server.py"
#: Seconds that a killed server stays away, at least and at most, and longer than a hang is noticed after.
AWAY_S, HANGING_S = (0.5, 5.0), 3.0
#: Seconds that a source is live before the next fault, and that are waited for it at most.
LIVE_S, LONGEST_S = 2.0, 120.0


class Fault(msgspec.Struct):
    """One fault. NaN where the source did not call itself stalled before it was live again.

    Attributes:
        away_s: From the fault to the server's return.
        stalled_s: From the fault until the source called itself stalled.
        back_s: From the server's return to the first new frame.
    """

    away_s: float
    stalled_s: float
    back_s: float


class Summary(msgspec.Struct):
    """Median and worst over the faults of a kind, seconds."""

    stalled_p50_s: float
    stalled_max_s: float
    back_p50_s: float
    back_max_s: float


class Record(msgspec.Struct):
    """What is written down."""

    edgeseg: str
    device: Device
    patience: Patience
    summary: dict[str, Summary]
    faults: dict[str, list[Fault]]
    schema: str = "edgeseg.recovery-record/1"


class Server:
    """The server, restarted at the same address."""

    def __init__(self, python: str, size: str, fps: int) -> None:
        self._command, self._options = [python, str(SCRIPT)], ["--size", size, "--fps", str(fps)]
        self._port = "0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self._command, self._port, *self._options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise SystemExit(
                f"No RTSP server: run {' '.join(self._command)} 8554 to see why, or name another --python."
            )
        self._port = self.address.split(":")[2].partition("/")[0]

    def end(self) -> None:
        with self.process:
            self.process.kill()


class Reader(threading.Thread):
    """Reads all frames of a source, and notes when the last came, by `time.monotonic()`."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source, self.last_s = source, 0.0
        self.start()

    def run(self) -> None:
        for captured in self.source:
            if captured.pixels is not None:
                self.last_s = time.monotonic()

    def await_frame(self, reconnects: int) -> float:
        """Wait for a frame after the source was opened again so often, and return when it came."""
        end = time.monotonic() + LONGEST_S
        while time.monotonic() < end:
            since = time.monotonic()
            if self.source.health.reconnects >= reconnects:
                while time.monotonic() < end:
                    if self.last_s > since:
                        return self.last_s
                    time.sleep(0.001)
            time.sleep(0.001)
        raise SystemExit(f"The source did not come back within {LONGEST_S:g} s: {self.source.health}")


def main() -> None:
    """Measure, print, and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--hangs", type=int, default=5)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--python", default=sys.executable, help="One that can import PyGObject.")
    asked = parser.parse_args()
    faults = measure(Server(asked.python, asked.size, asked.fps), asked.kills, asked.hangs)
    record = Record(
        __version__,
        describe_device(),
        patience_with("rtsp://"),
        {kind: summary(found) for kind, found in faults.items()},
        faults,
    )
    write_bytes(asked.out, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    print(msgspec.json.encode(record.summary).decode())


def measure(server: Server, kills: int, hangs: int) -> dict[str, list[Fault]]:
    """Read a camera through all faults."""
    chance = random.Random(0)
    over = threading.Event()
    faults: dict[str, list[Fault]] = {"killed": [], "hanging": []}

    def kill() -> None:
        server.end()

    def hang() -> None:
        server.process.send_signal(signal.SIGSTOP)

    def go_on() -> None:
        server.process.send_signal(signal.SIGCONT)

    try:
        with open_source(server.address, stop=over.is_set) as source:
            reader = Reader(source)
            try:
                reader.await_frame(0)
                for number in range(kills):
                    faults["killed"].append(suffer(reader, kill, server.start, chance.uniform(*AWAY_S)))
                    tell("killed", number, faults)
                for number in range(hangs):
                    away_s = patience_with(server.address).stall_s + chance.uniform(0, HANGING_S)
                    faults["hanging"].append(suffer(reader, hang, go_on, away_s))
                    tell("hanging", number, faults)
            finally:
                over.set()
                reader.join()
    finally:
        server.end()
    return faults


def suffer(reader: Reader, harm: Callable[[], None], mend: Callable[[], None], away_s: float) -> Fault:
    """One fault of so many seconds, from a live source to a live source."""
    time.sleep(LIVE_S)
    health, before = reader.source.health, reader.source.health.reconnects
    stalled_s = float("nan")

    def watch(until: Callable[[], bool]) -> None:
        nonlocal stalled_s
        while not until():
            if stalled_s != stalled_s and health.state == "stalled":
                stalled_s = time.monotonic() - begin
            time.sleep(0.001)

    begin = time.monotonic()
    harm()
    watch(lambda: time.monotonic() - begin >= away_s)
    mend()
    back = time.monotonic()
    watch(lambda: health.reconnects > before or time.monotonic() - back > LONGEST_S)
    return Fault(back - begin, stalled_s, reader.await_frame(before + 1) - back)


def summary(faults: list[Fault]) -> Summary:
    """See `Summary`."""
    stalled, back = [fault.stalled_s for fault in faults], [fault.back_s for fault in faults]
    return Summary(statistics.median(stalled), max(stalled), statistics.median(back), max(back))


def tell(kind: str, number: int, faults: dict[str, list[Fault]]) -> None:
    """One line for who waits."""
    fault = faults[kind][-1]
    print(
        f"{kind} {number + 1}: away {fault.away_s:.1f} s, stalled after {fault.stalled_s:.2f} s, "
        f"back after {fault.back_s:.2f} s",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
