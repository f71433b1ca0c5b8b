"""Engines of graphs as they are, neither gated nor kept: to score them, compare them and time them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeseg.backends import Engine, EngineOptions, open_backend
from edgeseg.build.store import find_engine
from edgeseg.card import Upsample, card_path
from edgeseg.catalog import zoo_models
from edgeseg.errors import UsageError
from edgeseg.files import sha256_file

__all__ = ["find_or_build", "graph_path"]


def graph_path(word: str) -> Path | None:
    """The graph that `word` means, a shipped model's name or an .onnx file without a card beside it; else None."""
    shipped = zoo_models()
    if word in shipped:
        return shipped[word]
    path = Path(word)
    return path if path.suffix == ".onnx" and path.is_file() and not card_path(path).exists() else None


def find_or_build(word: str | None, folder: Path, *, upsample: Upsample = "half") -> Engine:
    """The engine that `word` means, or one of the graph that it means, on ONNX Runtime and without a gate.

    Args:
        word: As for `find_engine`; or a shipped model's name, or an .onnx file that has a card inside.
        folder: An engine of a graph is built here.
        upsample: Of an engine that is built; those that are found keep their own.

    Raises:
        UsageError: Nothing fits, or the graph has no card.
        ModelFileError: The engine or the graph is damaged.
    """
    path = None if word is None else graph_path(word)
    if path is None:
        return find_engine(word)
    return _build(path, folder, upsample)


def _build(path: Path, folder: Path, upsample: Upsample) -> Engine:
    from edgeseg.graph.attach import attach_head_and_tail
    from edgeseg.graph.io import graph_card, load_graph, save_graph
    from edgeseg.graph.prepare import prepare_graph

    model = load_graph(path)
    card = graph_card(model)
    if card is None:
        raise UsageError(
            f"{path} has no card, so it can't be known how frames get into it.",
            hint=f"Build an engine of it, which makes one: edgeseg build {path} --mean R,G,B --std R,G,B",
        )
    prepared = prepare_graph(model, card) if card.kind == "graph" else model
    backend = open_backend("onnxruntime")
    whole = attach_head_and_tail(prepared, head=backend.head, tail=backend.tail, upsample=upsample)
    made, digest = graph_card(whole) or card, sha256_file(path)
    stem = f"{path.stem}-{digest[:12]}-{upsample}"
    source = folder / f"{stem}.source.onnx"
    save_graph(whole, source, msgspec.structs.replace(made, made_from={**made.made_from, "file": digest}))
    return backend.build(source, folder / f"{stem}{backend.suffix}", EngineOptions())
