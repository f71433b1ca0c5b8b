"""How fast a network camera is back after it failed: a real RTSP server is killed and restarted, and made to hang.

    python benchmarks/recovery.py -o benchmarks/records/2026-11-23-amd-epyc-avx2/recovery.json [--kills 20] [--hangs 5]

Times are seconds: from the fault until the source calls itself stalled, and from the server's return until the first
new frame was read. The source is as patient as `edgeseg run` has it by default. It needs GStreamer's RTSP server.
"""

from __future__ import annotations

import argparse
import math
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
#: Seconds that a killed server stays away, and that a hang lasts longer than the source is patient: least and most.
AWAY_S, HANGING_S = (0.5, 5.0), (0.5, 3.0)
#: Seconds that a source is live before the next fault, and that are waited for it at most.
LIVE_S, LONGEST_S = 2.0, 120.0


class Fault(msgspec.Struct):
    """One fault. NaN where the source did not call itself stalled before the server was back.

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

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        with self.process:
            self.process.kill()


class Reader(threading.Thread):
    """Reads all frames of a source.

    Attributes:
        first_s: When the first whole frame came, by `time.monotonic()`, after the source was opened again so often.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.first_s: dict[int, float] = {}
        self.start()

    def run(self) -> None:
        for captured in self.source:
            if captured.pixels is not None:
                self.first_s.setdefault(self.source.health.reconnects, time.monotonic())

    def await_frame(self, reconnects: int) -> float:
        """Wait for a frame after the source was opened again so often at least, and return when it came."""
        end = time.monotonic() + LONGEST_S
        while max(self.first_s, default=-1) < reconnects:
            if time.monotonic() > end:
                raise SystemExit(f"The source did not come back within {LONGEST_S:g} s: {self.source.health}")
            time.sleep(0.001)
        return next(when for count, when in sorted(self.first_s.items()) if count >= reconnects)


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
    chance, over = random.Random(0), threading.Event()
    faults: dict[str, list[Fault]] = {"killed": [], "hanging": []}
    patience_s = patience_with(server.address).stall_s
    try:
        with open_source(server.address, stop=over.is_set) as source:
            reader = Reader(source)
            try:
                reader.await_frame(0)
                for number in range(kills):
                    faults["killed"].append(suffer(reader, server.end, server.start, chance.uniform(*AWAY_S)))
                    tell("killed", number, faults)
                for number in range(hangs):
                    away_s = patience_s + chance.uniform(*HANGING_S)
                    faults["hanging"].append(suffer(reader, server.stop, server.go_on, away_s))
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
    stalled_s = math.nan
    begin = time.monotonic()
    harm()
    while time.monotonic() - begin < away_s:
        if math.isnan(stalled_s) and health.state == "stalled":
            stalled_s = time.monotonic() - begin
        time.sleep(0.001)
    mend()
    back = time.monotonic()
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
