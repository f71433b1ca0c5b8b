"""Tell how what the emulated board computed differs from what this machine did; ends with 1 where that is too much.

Usage: python compare.py FOLDER

FOLDER is of `prepare.py`. Its folders `here` and `there` hold what `measure.py` wrote on this machine and on the board,
and a report of `edgeseg eval` for each folder of frames; `there` also that of `edgeseg build`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

#: Share of pixels that may have another class there, and by which the pixel accuracy may differ.
MAX_OTHER = 0.001
#: ONNX Runtime rounds some integer additions otherwise on ARM, by one step. On frames of which the network is unsure
#: that decides more pixels, and so does quantization: of the share that it changes here, this much may differ there.
MAX_OTHER_OF_QUANTIZED = 0.1
INTEGER, FLOAT = ("QLinearConv", "ConvInteger"), ("Conv", "FusedConv", "NhwcFusedConv")


class Report:
    """Prints each finding, and remembers which are wrong."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def tell(self, text: str, right: bool = True) -> None:
        print(text if right else f"{text}   WRONG")
        if not right:
            self.wrong.append(text.strip())


def tell_installed(report: Report, here: dict[str, Any], there: dict[str, Any]) -> None:
    features = " ".join(there["cpu_features"])
    report.tell(f"{there['os']}, Python {there['python']}, {there['cpu']} ({features})", there["arch"] == "aarch64")
    for name, found in there["packages"].items():
        known = here["packages"][name]
        report.tell(f"  {name} {found}" + (f", here {known}" if found != known else ""))


def tell_operators(report: Report, here: dict[str, Any], there: dict[str, Any]) -> None:
    """The dialect that is preferred there must leave no more convolutions in float than any other."""
    report.tell("Convolutions that ONNX Runtime runs in integers and in float, and Q/DQ nodes that it leaves:")
    floats: dict[str, int] = {}
    for machine in (here, there):
        for name, graph in machine["graphs"].items():
            found = graph["operators"]
            whole, floats[name], left = (
                sum(found.get(kind, 0) for kind in kinds)
                for kinds in (INTEGER, FLOAT, ("QuantizeLinear", "DequantizeLinear"))
            )
            report.tell(f"  {machine['arch']:8} {name:8} {whole:3} {floats[name]:3} {left:4}")
    right = floats[there["dialects"][0]] == min(floats.values())
    report.tell(f"Dialects there, the preferred first: {', '.join(there['dialects'])}", right)


def tell_build(report: Report, built: dict[str, Any], graphs: dict[str, Any]) -> None:
    same = built["graph_sha256"] == graphs[built["dialect"]]["graph_sha256"]
    report.tell(f"edgeseg build there: {built['verdict']}, {built['dialect']}", built["verdict"] == "pass")
    report.tell(f"  its graph is {'the same as' if same else 'another than'} the one emitted here")


def tell_class_maps(report: Report, here: Path, there: Path) -> None:
    report.tell("Pixels of another class, here by quantization, and there than here:")
    with np.load(here / "class_maps.npz") as ours, np.load(there / "class_maps.npz") as theirs:
        for name in ours:
            frames = name.split(", ")[1]
            quantized = other(ours[name], ours[f"float, {frames}"])
            found = other(ours[name], theirs[name])
            text = f"  {name:18} {100 * quantized:7.3f} % {100 * found:7.3f} % of {ours[name].size}"
            report.tell(text, found <= max(MAX_OTHER, MAX_OTHER_OF_QUANTIZED * quantized))


def other(maps: npt.NDArray[np.uint8], than: npt.NDArray[np.uint8]) -> float:
    """The share of pixels that have another class."""
    return float((maps != than).mean())


def tell_scores(report: Report, here: Path, there: Path) -> None:
    """The mean IoU is told, not judged: of so few frames, a handful of pixels of a rare class moves it by points."""
    for path in sorted(there.glob("eval-*.json")):
        ours, theirs = (read(folder / path.name) for folder in (here, there))
        frames = path.stem.removeprefix("eval-")
        for name, judged in {"pixel_accuracy": True, "miou": False}.items():
            text = f"{name} on {frames}: {100 * theirs[name]:.2f} there, {100 * ours[name]:.2f} here"
            report.tell(text, not judged or abs(ours[name] - theirs[name]) <= MAX_OTHER)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def main(folder: Path) -> int:
    here, there = folder / "here", folder / "there"
    ours, theirs = read(here / "measured.json"), read(there / "measured.json")
    report = Report()
    tell_installed(report, ours, theirs)
    tell_operators(report, ours, theirs)
    tell_build(report, read(there / "build.json"), ours["graphs"])
    tell_class_maps(report, here, there)
    tell_scores(report, here, there)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
