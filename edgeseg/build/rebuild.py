"""An engine that does not fit this machine any more, built anew from the graph beside it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgeseg.backends import Backend, Engine, EngineOptions, open_backend
from edgeseg.backends.form import GraphForm
from edgeseg.backends.tensorrt.backend import options_of
from edgeseg.backends.tensorrt.calibration import calibration_cache
from edgeseg.build.golden import check_golden, read_golden, write_golden
from edgeseg.build.identity import check_signature, sign
from edgeseg.build.store import EngineStore, cache_beside, check_graph_beside, check_own, files_of, graph_beside
from edgeseg.card import Card, read_card, write_card
from edgeseg.errors import EdgesegError, EngineMismatch, MissingDependency, ModelFileError
from edgeseg.files import sha256_bytes, write_bytes

__all__ = ["PREVIOUS", "fits", "is_whole", "rebuild"]

#: Folder within the store that keeps the engine before the last rebuild.
PREVIOUS = "previous"
#: What was measured of one engine and is not that of another.
OF_ONE_ENGINE = ("gate", "speed", "verdict", "device", "data", "attempts")
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


def is_whole(path: Path) -> bool:
    """Whether the engine is what its card describes."""
    try:
        Engine.open(path)
    except ModelFileError:
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
    card = read_card(path)
    if not graph_beside(path).is_file():
        raise ModelFileError(
            f"The graph {graph_beside(path).name}, from which {path} could be built anew, is not beside it.",
            hint=from_model(card),
        )
    backend = open_backend(card.backend)
    options = EngineOptions(card.float_precision, options_of(card))
    graph, cache = _as_it_is_wanted(path, card, backend, options, folder)
    options = dataclasses.replace(options, calibration=cache)
    own = card if _is_own(Engine(path, card)) else None
    try:
        built = backend.build(graph, folder / path.name, options, on_progress, own)
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"Another machine signed the card of {path}, and without the package '{error.name}' the card in its graph "
            "can't be read.",
            hint="If you know where the engine comes from: --rebuild --trust-engine. Or build it from its bundle.",
        ) from error
    shutil.copyfile(graph, graph_beside(built.path))
    measured = _measured(Engine(path, card), built, backend)
    write_card(built.path, sign(msgspec.structs.replace(built.card, measured=measured)))
    _keep_previous(path)
    EngineStore(path.parent).keep({one.name: one for one in files_of(built.path)}, None)


def _as_it_is_wanted(
    path: Path, card: Card, backend: Backend, options: EngineOptions, folder: Path
) -> tuple[Path, Path | None]:
    """The graph beside an engine and its calibration cache, as the library that is here now wants them.

    Raises:
        ModelFileError: They can't be brought to that.
    """
    graph, cache = graph_beside(path), cache_beside(path)
    was = msgspec.convert(card.measured["form"], GraphForm) if "form" in card.measured else None
    if was is None:
        return graph, cache if cache.is_file() else None
    wanted = backend.form(was.dialect, options, spare_depthwise=was.spare_depthwise, own_tail=was.tail == "outside")
    if wanted.cache != was.cache or (was.half and not wanted.half):
        raise ModelFileError(
            f"{backend.name} {backend.version()} wants another graph than that beside {path}, which is for "
            f"{card.identity.version if card.identity else 'another version'}.",
            hint=from_model(card),
        )
    if wanted.half and not was.half:
        graph = _typed_in_half(graph, card, folder / "typed.onnx")
    if was.cache:
        lines = cache.read_bytes().partition(b"\n")[2] if cache.is_file() else b""
        if sha256_bytes(lines) != card.made_from.get("calibration_cache"):
            raise ModelFileError(f"{cache.name} is missing or not that of {path}.", hint=from_model(card))
        cache = cache_beside(folder / path.name)
        write_bytes(cache, calibration_cache(lines, backend.version()))
    return graph, cache if was.cache else None


def _typed_in_half(graph: Path, card: Card, out: Path) -> Path:
    """The graph with FP16 in it, where versions before took that from a flag."""
    try:
        from edgeseg.graph.half_precision import type_in_half
        from edgeseg.graph.io import load_graph, save_graph
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"This version of {card.backend} takes FP16 from the graph, which can't be changed without the package "
            f"'{error.name}'.",
            hint=f"{from_model(card)} Or from its bundle, which has graphs for every version.",
        ) from error
    save_graph(type_in_half(load_graph(graph))[0], out)
    return out


def from_model(card: Card) -> str:
    """How to build an engine that can't be built anew from what lies beside it."""
    return f"Build it from its model: edgeseg build {card.model} --backend {card.backend}"


def _measured(old: Engine, new: Engine, backend: Backend) -> dict[str, Any]:
    """The new engine is unmeasured but for the golden frame, and what was measured of the old one is told as such.

    Figures of a card that this machine did not sign, or of another graph, are nobody's.

    Raises:
        EngineMismatch: The new engine computes something else.
    """
    kept = {name: value for name, value in old.card.measured.items() if name not in OF_ONE_ENGINE}
    figures = {name: old.card.measured[name] for name in OF_ONE_ENGINE if name in old.card.measured}
    form = backend.form(
        new.card.dialect,
        EngineOptions(new.card.float_precision, options_of(new.card)),
        spare_depthwise=kept.get("form", {}).get("spare_depthwise", False),
        own_tail=kept.get("form", {}).get("tail") == "outside",
    )
    measured = kept | {
        "verdict": "unmeasured",
        "execution": new.card.measured["execution"],
        "form": msgspec.to_builtins(form),
        "rebuilt_from": {**_told(old.card), **(figures if _is_own(old) else {})},
    }
    frame, _ = read_golden(old)
    try:
        with backend.load(new) as session:
            answer = check_golden(session, old, least=ALIKE)
    except EngineMismatch as error:
        raise EngineMismatch(
            f"Built anew, the engine computes something else than before, and the old one is kept. {error.message}",
            hint=from_model(old.card),
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
    """A whole engine is kept; what is damaged takes no whole one's place."""
    if not is_whole(path):
        return
    previous = EngineStore(path.parent / PREVIOUS)
    with previous.staging() as folder:
        for one in files_of(path):
            shutil.copyfile(one, folder / one.name)
        previous.keep({one.name: one for one in folder.iterdir()}, None)
