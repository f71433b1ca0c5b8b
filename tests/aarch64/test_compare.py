"""What the comparison of two machines lets pass."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.aarch64 import compare

INTEGER = {"QLinearConv": 69, "Conv": 1, "DequantizeLinear": 4}
MIXED = {"FusedConv": 49, "Conv": 1, "QLinearConv": 20, "DequantizeLinear": 146}
MACHINE = {
    "arch": "aarch64",
    "cpu": "aarch64 0x41/0xd0b",
    "cpu_features": ["asimd", "asimddp"],
    "os": "Debian",
    "python": "3.11.2",
    "packages": {"numpy": "2.4.6"},
    "dialects": ["u8-asym"],
    "graphs": {
        "u8-asym": {"graph_sha256": "aa", "operators": INTEGER},
        "s8-sym": {"graph_sha256": "bb", "operators": MIXED},
    },
}
CLASS_MAPS = np.arange(2000, dtype=np.uint8).reshape(1, 40, 50) % 11
Board = dict[str, Any]


def quantized() -> npt.NDArray[np.uint8]:
    """Class maps in which quantization changed 60 of 2000 pixels, the last."""
    maps = CLASS_MAPS.copy()
    maps.reshape(-1)[-60:] += 1
    return maps


def board() -> Board:
    """What a board writes that computes as this machine does."""
    return {
        "measured": copy.deepcopy(MACHINE),
        "build": {"verdict": "pass", "dialect": "u8-asym", "graph_sha256": "aa"},
        "float": CLASS_MAPS.copy(),
        "built": quantized(),
        "pixel_accuracy": 0.9,
        "miou": 0.5,
    }


def write(folder: Path, found: Board) -> None:
    folder.mkdir()
    for name, content in {"measured": found["measured"], "build": found["build"]}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "eval-street.json").write_text(json.dumps({name: found[name] for name in ("pixel_accuracy", "miou")}))
    maps = {f"{engine}, street": found[engine] for engine in ("float", "built")}
    np.savez_compressed(folder / "class_maps.npz", **maps)


def change_pixels(engine: str, count: int) -> Callable[[Board], None]:
    def change(found: Board) -> None:
        found[engine].reshape(-1)[:count] += 1

    return change


RIGHT: dict[str, Callable[[Board], None]] = {
    "everything is equal": lambda found: None,
    "two float pixels of two thousand differ": change_pixels("float", 2),
    "as many differ as a tenth of those that quantization changes": change_pixels("built", 6),
    "the mean IoU of so few frames is another": lambda found: found.update(miou=0.49),
    "a package is of another version": lambda found: found["measured"]["packages"].update(numpy="1.26.4"),
    "the graph differs in a rounding": lambda found: found["build"].update(graph_sha256="cc"),
    "another dialect comes second": lambda found: found["measured"].update(dialects=["u8-asym", "s8-sym"]),
}
WRONG: dict[str, Callable[[Board], None]] = {
    "it was no aarch64": lambda found: found["measured"].update(arch="x86_64"),
    "three float pixels of two thousand differ": change_pixels("float", 3),
    "more differ than a tenth of those that quantization changes": change_pixels("built", 7),
    "the build did not pass": lambda found: found["build"].update(verdict="fail"),
    "the preferred dialect leaves more in float": lambda found: found["measured"].update(
        dialects=["s8-sym", "u8-asym"]
    ),
    "the pixel accuracy is another": lambda found: found.update(pixel_accuracy=0.898),
}


@pytest.mark.parametrize("change", RIGHT.values(), ids=RIGHT)
def test_is_right(tmp_path: Path, change: Callable[[Board], None]) -> None:
    assert compare_with(tmp_path, change) == 0


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_is_wrong_and_marked(
    tmp_path: Path, change: Callable[[Board], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare_with(tmp_path, change) == 1
    assert sum(line.endswith("WRONG") for line in capsys.readouterr().out.splitlines()) == 1


def compare_with(folder: Path, change: Callable[[Board], None]) -> int:
    there = board()
    change(there)
    write(folder / "here", board())
    write(folder / "there", there)
    return compare.main(folder)
