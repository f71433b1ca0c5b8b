"""What this machine makes of engines and frames: class maps, and the operators that ONNX Runtime is left with.

Usage: python measure.py FOLDER OUT

FOLDER is of `prepare.py`, with what `edgeseg build` made in `built`; OUT gets `measured.json` and `class_maps.npz`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from edgeseg import __version__
from edgeseg.backends import Engine, open_backend
from edgeseg.backends.ort import session_options
from edgeseg.data.images import image_files, read_frame
from edgeseg.device import describe_device
from edgeseg.evaluate.sessions import class_maps

PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "opencv-python-headless", "pillow")


def describe_machine() -> dict[str, Any]:
    device = describe_device()
    return {
        "arch": device.arch,
        "cpu": device.cpu,
        "cpu_features": device.cpu_features,
        "os": device.os,
        "python": device.python,
        "packages": {"edgeseg": __version__, **{name: version(name) for name in PACKAGES}},
        "dialects": open_backend("onnxruntime").dialects,
    }


def answers(engine: Engine, frames: Path) -> npt.NDArray[np.uint8]:
    """Class maps `(N, h, w)` of the images in a folder."""
    with open_backend("onnxruntime").load(engine) as session:
        return np.stack(list(class_maps(session, map(read_frame, image_files(frames)))))


def count_operators(engine: Path) -> dict[str, int]:
    """The operators that are left of an engine once ONNX Runtime has optimized it as its backend asks."""
    options = session_options()
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = f"{folder}/optimized.onnx"
        onnxruntime.InferenceSession(engine, options, providers=["CPUExecutionProvider"])
        optimized = onnx.load(options.optimized_model_filepath)
    return dict(Counter(node.op_type for node in optimized.graph.node).most_common())


def main() -> None:
    folder, out = map(Path, sys.argv[1:])
    engines = {path.stem: Engine.open(path) for path in sorted(folder.glob("engines/*.onnx"))}
    built = Engine.open(next(folder.glob("built/*.onnx")))
    graphs = {
        name: {"graph_sha256": engine.card.made_from["engine_graph"], "operators": count_operators(engine.path)}
        for name, engine in engines.items()
    }
    maps = {
        f"{name}, {frames.name}": answers(engine, frames / "images")
        for name, engine in {"float": engines["float"], "built": built}.items()
        for frames in sorted(folder.glob("frames/*"))
    }
    (out / "measured.json").write_text(json.dumps({**describe_machine(), "graphs": graphs}, indent=2) + "\n")
    np.savez_compressed(out / "class_maps.npz", **maps)


if __name__ == "__main__":
    main()
