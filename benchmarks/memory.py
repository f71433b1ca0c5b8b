"""Memory of `edgeseg run` beside that of a bare session: the same engine, opened by a few lines and its library.

    python benchmarks/memory.py [ENGINE] -o benchmarks/records/FOLDER/memory.json

Resident memory of a process and its children is looked at fifty times a second; what two of them share counts once for
each, so that the sums are rather too high than too low.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import psutil

from edgeseg.build.store import find_engine
from edgeseg.device import Device, describe_device
from edgeseg.files import write_bytes

#: What a script does that only opens the library, by backend: frames of zeros in, class maps out.
BARE = {
    "openvino": """
import sys, numpy, openvino
model = openvino.Core().compile_model(sys.argv[1], "CPU", {"PERFORMANCE_HINT": "LATENCY"})
frame = numpy.zeros(tuple(model.input().shape), numpy.uint8)
request = model.create_infer_request()
for _ in range(200):
    request.infer({0: frame})
""",
    "onnxruntime": """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
end = session.get_inputs()[0]
frame = numpy.zeros(tuple(end.shape), numpy.uint8)
for _ in range(200):
    session.run([session.get_outputs()[0].name], {end.name: frame})
""",
}
FRAMES = 200
#: Streams of `edgeseg run`: arguments after the source.
STREAMS = {
    "camera of 640x480, class maps thrown away": ("synthetic://?width=640&height=480&fps=30", "null://"),
    "video to overlay video": ("demo://bikes", "overlay.mp4"),
}
LOOK_S = 0.02


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Peaks, megabytes.

    Attributes:
        bare_mb: Of the bare session.
        run_mb: Of each stream, all its processes together.
        above_mb: The second less the first.
    """

    schema: str = "edgeseg.memory/1"
    device: Device
    engine: str
    backend: str
    bare_mb: float
    run_mb: dict[str, float]
    above_mb: dict[str, float]


def peak_mb(command: list[str], folder: Path) -> float:
    """Peak of the resident memory of a command and all its children."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=said)
        told, peak = psutil.Process(process.pid), 0
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                peak = max(peak, sum(resident(one) for one in (told, *told.children(recursive=True))))
            time.sleep(LOOK_S)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {said.read().decode()}")
    return peak / 1e6


def resident(process: psutil.Process) -> int:
    """Bytes; 0 of a process that is gone."""
    with contextlib.suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def main() -> None:
    """Measure, print, and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", nargs="?", help="Path or name; the last built by default.")
    parser.add_argument("-o", "--out", type=Path, required=True)
    asked = parser.parse_args()
    engine = find_engine(asked.engine)
    path, folder = engine.path.resolve(), asked.out.parent.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    bare = peak_mb([sys.executable, "-c", BARE[engine.card.backend], str(path)], folder)
    run = {}
    for name, (source, sink) in STREAMS.items():
        words = [sys.executable, "-m", "edgeseg", "run", source, sink, "--engine", str(path), "--frames", str(FRAMES)]
        run[name] = peak_mb(words, folder)
        (folder / sink).unlink(missing_ok=True)
    found = Memory(
        device=describe_device(),
        engine=engine.path.name,
        backend=engine.card.backend,
        bare_mb=bare,
        run_mb=run,
        above_mb={name: peak - bare for name, peak in run.items()},
    )
    write_bytes(asked.out, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    for name, peak in run.items():
        print(f"{name}: {peak:.0f} MB - {bare:.0f} MB of the bare session = {peak - bare:.0f} MB")


if __name__ == "__main__":
    main()
