"""A stream that runs for long, and what it leaves: `python -m tests.stream.soak SECONDS`, in a folder of its own.

A camera at 30 frames a second, whose process is killed every 20 seconds, goes through an engine into a video, lines of
JSON and a page that somebody watches. Prints one JSON object.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np

from edgeseg.labels import LabelSet
from edgeseg.stream import Callbacks, Patience, StreamReport, open_sink, open_source, run_stream
from edgeseg.stream.live import LiveSource
from edgeseg.web import PageSink
from tests.engines import tiny_engine

#: Until libraries have all that they keep, and between two deaths of the camera's process.
WARM_S, KILL_S = 60.0, 20.0


def main() -> None:
    seconds = float(sys.argv[1])
    engine = tiny_engine(Path())
    soak(engine, min(seconds, 5.0), [])  # What is kept from the first use on is there before the first look.
    before = left_behind()
    samples: list[tuple[float, float]] = []
    report = soak(engine, seconds, samples)
    warm = [sample for sample in samples if sample[0] > min(WARM_S, seconds / 4)]
    slope = float(np.polyfit(*np.array(warm).T, 1)[0])
    print(
        json.dumps(
            {
                "seconds": seconds,
                "mb_per_10_minutes": slope * 600,
                "megabytes": [warm[0][1], warm[-1][1]],
                "before": before,
                "after": left_behind(),
                "shown": report.shown,
                "fps": report.fps,
                "reconnects": report.reconnects,
                "exact": report.captured == report.inferred + sum(one_by_one(report)),
                "failed": report.failed,
            }
        )
    )


def soak(engine: object, seconds: float, samples: list[tuple[float, float]]) -> StreamReport:
    from edgeseg.build import load_session

    begin = time.monotonic()
    killed = [begin]

    def on_report(_: StreamReport) -> None:
        now = time.monotonic()
        if now - begin > len(samples):
            samples.append((now - begin, resident_mb()))
        if now - killed[0] > KILL_S and isinstance(source, LiveSource) and source._process is not None:
            killed[0] = now
            source._process.kill()

    uri = "synthetic://?width=320&height=240&fps=30"
    with load_session(engine) as session, open_source(uri, patience=Patience(pause_s=0.1)) as source:  # type: ignore[arg-type]
        labels = LabelSet(session.card.classes, session.card.palette)
        page = PageSink("web://127.0.0.1:0", session.card)
        sinks = [page, open_sink("area.jsonl", source, labels), open_sink("out.mp4", source, labels)]
        ended = threading.Event()
        viewer = threading.Thread(target=watch, args=(page.output + "stream.mjpg", ended))
        viewer.start()
        over = lambda: time.monotonic() - begin > seconds  # noqa: E731
        report = run_stream(session, source, sinks, callbacks=Callbacks(on_report=on_report), stop=over)
        ended.set()
        viewer.join()
    return report


def watch(address: str, ended: threading.Event) -> None:
    """A browser that looks at the page all the time."""
    try:
        with urllib.request.urlopen(address, timeout=5) as stream:
            while not ended.is_set() and stream.read(1 << 14):
                pass
    except (OSError, http.client.HTTPException):
        pass  # The page has closed.


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def left_behind() -> dict[str, int]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "children": len(children),
    }


def one_by_one(report: StreamReport) -> tuple[int, ...]:
    dropped = report.dropped
    return dropped.newest, dropped.corrupt, dropped.stale, dropped.skipped


if __name__ == "__main__":
    main()
