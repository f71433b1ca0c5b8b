"""Who is measured."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import UsageError

__all__ = ["ENTRIES", "REFERENCE", "Entry", "chosen"]

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """One system under one setting.

    Attributes:
        name: As it is asked for and recorded.
        folder: Of its `peer.py`.
        variant: As its `peer.py` calls it.
        title: In tables.
    """

    name: str
    folder: Path
    variant: str
    title: str


def _entry(folder: str, variant: str, title: str) -> Entry:
    return Entry(f"{folder}/{variant}", FOLDER / folder, variant, title)


#: What all others are set against.
REFERENCE = _entry("edgeseg", "int8", "edgeseg, INT8")
ENTRIES = (
    REFERENCE,
    _entry("edgeseg", "int8-full", "edgeseg, INT8, `--upsample full`"),
    _entry("edgeseg", "float", "edgeseg, float32"),
    _entry("model_api", "stock", "OpenVINO Model API, NNCF INT8, stock"),
    _entry("model_api", "tuned", "OpenVINO Model API, NNCF INT8, tuned"),
    _entry("model_api", "class-map", "OpenVINO Model API, NNCF INT8, tuned, argmax in the graph"),
    _entry("onnxruntime", "plain", "ONNX Runtime, float32"),
    _entry("litert", "float", "LiteRT, float32"),
    _entry("litert", "int8", "LiteRT, INT8"),
    _entry("ncnn", "plain", "ncnn, float32"),
    _entry("ncnn", "bf16", "ncnn, bfloat16 maps"),
    _entry("pytorch", "compile", "PyTorch, `torch.compile`"),
    _entry("pytorch", "compile-bf16", "PyTorch, `torch.compile`, bfloat16"),
    _entry("pytorch", "eager", "PyTorch, eager"),
    _entry("pytorch", "eager-bf16", "PyTorch, eager, bfloat16"),
)


def chosen(patterns: Sequence[str]) -> tuple[Entry, ...]:
    """The entries whose name or folder fits one of the patterns, the reference always; all where there are none.

    Raises:
        UsageError: A pattern fits nothing.
    """
    for pattern in patterns:
        if not any(_fits(entry, pattern) for entry in ENTRIES):
            raise UsageError(
                f"No peer is called '{pattern}'.", hint=f"Possible: {', '.join(entry.name for entry in ENTRIES)}."
            )
    return tuple(
        entry
        for entry in ENTRIES
        if not patterns or entry == REFERENCE or any(_fits(entry, pattern) for pattern in patterns)
    )


def _fits(entry: Entry, pattern: str) -> bool:
    return fnmatch.fnmatch(entry.name, pattern) or entry.folder.name == pattern
