"""What the stream adds to an engine: FPS and frame age beside those of the bare engine, measured in turns in one run.

    python benchmarks/stream.py -o benchmarks/records/2026-11-23-amd-epyc-avx2/stream.json [--engine NAME] [--rounds 3]

Each round runs `edgeseg run` on a camera of 640x480 at 30 frames a second, on frames as fast as they are read, from the
demo video to an overlay video, and on a camera four times faster than the engine; the bare engine (a frame in its
buffer, submit, result) is timed before and after each. Figures are medians over the rounds, ratios those of a stream
and the bare engine beside it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgeseg import __version__
from edgeseg.build import find_engine, load_session
from edgeseg.device import describe_device
from edgeseg.files import write_bytes
from edgeseg.timing import Latency, latency

#: Seconds of each stream, and of the bare engine before and after it.
SECONDS, BARE_SECONDS = 8.0, 3.0
CAMERA = "synthetic://?width=640&height=480"


def main() -> None:
    """Measure, print, and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--engine", help="Path or name; the last built by default.")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    engine = find_engine(asked.engine)
    rounds = []
    for number in range(asked.rounds):
        rounds.append(measure(str(engine.path)))
        print(f"round {number + 1} of {asked.rounds}: {summary(rounds[-1:])}", file=sys.stderr)
    device = describe_device()
    record = {
        "schema": "edgeseg.stream-record/1",
        "edgeseg": __version__,
        "device": msgspec.to_builtins(device),
        "engine": engine.path.name,
        "backend": engine.card.backend,
        "size_hw": engine.card.size_hw,
        "summary": summary(rounds),
        "rounds": rounds,
    }
    write_bytes(asked.out, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    print(msgspec.json.encode(record["summary"]).decode())


def measure(engine: str) -> dict[str, Any]:
    """One round: the four streams, each between two times of the bare engine."""
    before = bare_engine(engine)
    fast = 4e3 / before.p50_ms
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, source, sink in (
            ("camera", f"{CAMERA}&fps=30&frames={round(30 * SECONDS)}", "null://"),
            ("unpaced", f"{CAMERA}&frames={round(before.fps * SECONDS)}", "null://"),
            ("video", "demo://bikes", str(Path(folder) / "overlay.mp4")),
            ("fast_camera", f"{CAMERA}&fps={fast:.0f}&frames={round(fast * SECONDS)}", "null://"),
        ):
            report = run(engine, source, sink)
            after = bare_engine(engine)
            bare = {
                figure: (getattr(before, figure) + getattr(after, figure)) / 2 for figure in ("fps", "p50_ms", "p99_ms")
            }
            found[name] = {"bare": bare, "report": report}
            before = after
    return found


def bare_engine(engine: str) -> Latency:
    """The engine alone, one frame after the other."""
    with load_session(find_engine(engine)) as session:
        session.input_buffer()[...] = 100
        samples = []
        end = time.perf_counter() + BARE_SECONDS
        while time.perf_counter() < end:
            begin = time.perf_counter_ns()
            session.input_buffer()
            session.submit().result()
            samples.append(time.perf_counter_ns() - begin)
    return latency(samples[len(samples) // 10 :])


def run(engine: str, source: str, sink: str) -> dict[str, Any]:
    """`edgeseg run`, as it is typed."""
    command = [sys.executable, "-m", "edgeseg", "run", source, sink, "--engine", engine, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    report: dict[str, Any] = msgspec.json.decode(done.stdout)
    assert report["captured"] == report["inferred"] + sum(report["dropped"].values())
    return report


def summary(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """The figures that matter, each a median over the rounds."""

    def median(stream: str, figure: Callable[[dict[str, Any], dict[str, float]], float]) -> float:
        return round(statistics.median(figure(one[stream]["report"], one[stream]["bare"]) for one in rounds), 3)

    return {
        "bare_fps": median("camera", lambda _, bare: bare["fps"]),
        "bare_p99_ms": median("camera", lambda _, bare: bare["p99_ms"]),
        "camera_fps": median("camera", lambda report, _: report["fps"]),
        "camera_dropped": median("camera", lambda report, _: sum(report["dropped"].values())),
        "camera_age_p99_ms": median("camera", lambda report, _: report["frame_age_ms"]["p99"]),
        "camera_age_allowed_ms": median("camera", lambda _, bare: bare["p99_ms"] + 2e3 / 30),
        "unpaced_of_bare": median("unpaced", lambda report, bare: report["fps"] / bare["fps"]),
        "video_of_bare": median("video", lambda report, bare: report["fps"] / bare["fps"]),
        "fast_camera_age_p99_ms": median("fast_camera", lambda report, _: report["frame_age_ms"]["p99"]),
        "fast_camera_age_allowed_ms": median("fast_camera", lambda _, bare: 2 * bare["p50_ms"] + 20),
        "cold_start_ms": median("camera", lambda report, _: report["cold_start_ms"]),
    }


if __name__ == "__main__":
    main()
