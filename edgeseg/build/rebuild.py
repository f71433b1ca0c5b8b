"""An engine that does not fit this machine any more, built anew from the graph beside it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgeseg.backends import Backend, Engine, EngineOptions, open_backend
from edgeseg.backends.tensorrt.backend import options_of
from edgeseg.build.golden import check_golden, read_golden, write_golden
from edgeseg.build.identity import check_signature, sign
from edgeseg.build.store import EngineStore, cache_beside, check_graph_beside, check_own, files_of, graph_beside
from edgeseg.card import Card, read_card, write_card
from edgeseg.errors import EdgesegError, EngineMismatch, ModelFileError

__all__ = ["PREVIOUS", "fits", "rebuild"]

#: Folder within the store that keeps the engine before the last rebuild.
PREVIOUS = "previous"
#: Share of the golden class map that must be as the engine before gave it. Another GPU rounds otherwise.
ALIKE = 0.99


def fits(path: Path) -> bool:
    """Whether the engine is whole, fits this machine and is its own."""
    try:
        engine = Engine.open(path)
        check_own(engine, open_backend(engine.card.backend))
    except (EngineMismatch, ModelFileError):
        return False
    return True


def rebuild(path: Path, on_progress: Callable[[float, str], None] = lambda *_: None) -> Engine:
    """Build the engine anew from the graph beside it, as it was built before; one that fits is left as it is.

    Of two processes one builds, and the other waits and takes what it built. The engine before lies in the folder
    `previous` then, all its files under their names.

    Args:
        path: The engine, which may be damaged.
        on_progress: Told the share done of a phase, 0 to 1, and its name.

    Raises:
        ModelFileError: There is no card or graph beside it, or the library refuses the graph.
        EngineMismatch: The new engine computes something else than the one before.
        EdgesegError: Its folder can't be written to.
    """
    try:
        with EngineStore(path.parent).staging(on_wait=lambda: on_progress(0.0, "wait for another build")) as folder:
            if not fits(path):
                _rebuild(path, folder, on_progress)
    except PermissionError as error:
        raise EdgesegError(
            f"The engine {path} can't be built anew: {path.parent} can't be written to.",
            hint="Copy it and the files beside it to a folder of your own.",
        ) from error
    return Engine.open(path)


def _rebuild(path: Path, folder: Path, on_progress: Callable[[float, str], None]) -> None:
    """The engine's own card goes over to the new one, unless a stranger wrote it: then it is the graph's."""
    card, graph = read_card(path), graph_beside(path)
    if not graph.is_file():
        raise ModelFileError(
            f"The graph {graph.name}, from which {path} could be built anew, is not beside it.",
            hint=f"Build it from its model: edgeseg build {card.model} --backend {card.backend}",
        )
    backend = open_backend(card.backend)
    cache = cache_beside(path) if cache_beside(path).is_file() else None
    options = EngineOptions(card.float_precision, options_of(card), cache)
    own = card if _is_own(Engine(path, card)) else None
    built = backend.build(graph, folder / path.name, options, on_progress, own)
    shutil.copyfile(graph, graph_beside(built.path))
    if cache is not None:
        shutil.copyfile(cache, cache_beside(built.path))
    measured = _carried_over(Engine(path, card), built, backend)
    write_card(built.path, sign(msgspec.structs.replace(built.card, measured=measured)))
    _keep_previous(path)
    EngineStore(path.parent).keep({one.name: one for one in files_of(built.path)}, None)


def _carried_over(old: Engine, new: Engine, backend: Backend) -> dict[str, Any]:
    """What was measured of the old engine, but for its speed, once the new one was seen to compute the same.

    Figures of a card that this machine did not sign, or of another graph, are nobody's.
    """
    dropped = ("speed", "device") if _is_own(old) else ("speed", "device", "gate", "data", "attempts")
    measured = {name: value for name, value in old.card.measured.items() if name not in dropped}
    if "gate" not in measured:
        measured["verdict"] = "unmeasured"
    measured |= {"execution": new.card.measured["execution"], "rebuilt_from": _told(old.card)}
    frame, _ = read_golden(old)
    try:
        with backend.load(new) as session:
            answer = check_golden(session, old, least=ALIKE)
    except EngineMismatch as error:
        raise EngineMismatch(
            f"Built anew, the engine computes something else than before, and the old one is kept. {error.message}",
            hint=f"Build and measure it from its model: edgeseg build {old.card.model} --backend {old.card.backend}",
        ) from error
    return measured | {"golden": write_golden(new.path, frame, answer), "golden_by": "engine"}


def _is_own(engine: Engine) -> bool:
    try:
        check_graph_beside(engine)
        check_signature(engine)
    except (EngineMismatch, ModelFileError):
        return False
    return True


def _told(card: Card) -> dict[str, Any]:
    return {} if card.identity is None else {"sha256": card.sha256, **msgspec.to_builtins(card.identity)}


def _keep_previous(path: Path) -> None:
    folder = path.parent / PREVIOUS
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for one in files_of(path):
        shutil.copyfile(one, folder / one.name)
