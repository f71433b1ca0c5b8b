"""Where engines are kept, all files of one replaced together, and found again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from filelock import BaseFileLock, FileLock, Timeout

from edgeseg.backends import Backend, Engine, Session, open_backend
from edgeseg.backends.session import Output
from edgeseg.backends.tensorrt.layers import layers_path
from edgeseg.build.golden import check_golden, golden_paths
from edgeseg.build.identity import check_signature
from edgeseg.card import card_path
from edgeseg.errors import EngineMismatch, ModelFileError, UsageError, nearest
from edgeseg.files import engines_folder, sha256_file, write_bytes

__all__ = [
    "EngineStore",
    "cache_beside",
    "check_graph_beside",
    "check_own",
    "files_of",
    "find_engine",
    "find_path",
    "graph_beside",
    "load_session",
]

CURRENT = "current.json"
JOURNAL = ".replacing"
RENEW = "Build it anew from the graph beside it: --rebuild"
STAGING = ".building-"


class Current(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`current.json`: the engine that `edgeseg run` takes."""

    engine: str
    schema: str = "edgeseg.current/1"


class EngineStore:
    """A folder of engines. An engine's files are replaced together or not at all, also under kill -9."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def staging(self, *, wait_s: float = -1, on_wait: Callable[[], None] = lambda: None) -> Iterator[Path]:
        """A folder to build in, in the store's own file system, for one process at a time. It is removed at the end.

        Args:
            wait_s: How long to wait for another process that builds here; without end where it is negative.
            on_wait: Told once that there is one.

        Raises:
            UsageError: Another process builds here and does not end within `wait_s`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            self._wait(lock, wait_s)
        try:
            self.recover()
            for stale in self.folder.glob(f"{STAGING}*"):
                shutil.rmtree(stale, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=STAGING, dir=self.folder) as folder:
                yield Path(folder)
        finally:
            lock.release()

    def _wait(self, lock: BaseFileLock, wait_s: float) -> None:
        try:
            lock.acquire(timeout=wait_s)
        except Timeout as error:
            raise UsageError(
                f"Another process builds in {self.folder}.", hint="Wait for it, or build elsewhere: -o DIR"
            ) from error

    def keep(self, made: dict[str, Path], pick: str | None) -> None:
        """Move files into the store under their names, all or none, and make `pick` the current engine.

        The names are written down first: a process that is killed midway leaves a list that `recover` finishes.
        """
        stage = Path(tempfile.mkdtemp(prefix=f"{JOURNAL}-", dir=self.folder))
        for name, path in made.items():
            os.replace(path, stage / name)
        if pick is not None:
            write_bytes(stage / CURRENT, msgspec.json.encode(Current(pick)) + b"\n")
        names = sorted(path.name for path in stage.iterdir())
        write_bytes(self.folder / JOURNAL, msgspec.json.encode({"stage": stage.name, "names": names}))
        self.recover()

    def recover(self) -> None:
        """Finish a replacement that was cut short. Without one, only drop what an aborted one left."""
        journal = self.folder / JOURNAL
        if journal.is_file():
            begun = msgspec.json.decode(journal.read_bytes(), type=_Journal)
            for name in begun.names:
                part = self.folder / begun.stage / name
                if part.exists():
                    os.replace(part, self.folder / name)
            journal.unlink()
        for stale in self.folder.glob(f"{JOURNAL}-*"):
            shutil.rmtree(stale, ignore_errors=True)

    def current(self) -> Path | None:
        """The engine that was picked last, None where there is none."""
        path = self.folder / CURRENT
        if not path.is_file():
            return None
        try:
            return self.folder / msgspec.json.decode(path.read_bytes(), type=Current).engine
        except msgspec.MsgspecError as error:
            raise ModelFileError(f"{path} can't be read: {error}.", hint="Build anew: edgeseg build --int8") from error

    def engines(self) -> dict[str, Path]:
        """Engines in the store by file name."""
        cards = sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []
        found = [card.with_name(card.name.removesuffix(".json")) for card in cards if card.name != CURRENT]
        return {path.name: path for path in found if path.is_file()}


class _Journal(msgspec.Struct, frozen=True):
    stage: str
    names: list[str]


def find_engine(word: str | Path | None = None, folder: Path | None = None) -> Engine:
    """The engine at a path, of a name in the store, or without a word the one that was built last.

    Args:
        word: A path, an engine's file name, or the beginning of exactly one.
        folder: The store; by default where `edgeseg build` puts engines.

    Raises:
        UsageError: Nothing or more than one fits, or nothing was built yet.
        ModelFileError: The engine or its card is damaged.
    """
    return Engine.open(find_path(word, folder))


def find_path(word: str | Path | None = None, folder: Path | None = None) -> Path:
    """Where the engine lies that `find_engine` opens, which may be damaged.

    Raises:
        UsageError: Nothing or more than one fits, or nothing was built yet.
    """
    if word is not None and Path(word).is_file():
        _heal(EngineStore(Path(word).parent))
        return Path(word)
    store = EngineStore(Path(word) if word is not None and Path(word).is_dir() else folder or engines_folder())
    _heal(store)
    if word is None or Path(word).is_dir():
        current = store.current()
        if current is None:
            raise UsageError(f"No engine was built yet in {store.folder}.", hint="Build one: edgeseg build --int8")
        return current
    engines = store.engines()
    fitting = [path for name, path in engines.items() if name == str(word) or name.startswith(str(word))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(path.name for path in fitting)
        raise UsageError(f"'{word}' fits {len(fitting)} engines: {names}.", hint="Give the whole name, or a path.")
    hint = nearest(str(word), engines) if engines else "Build one: edgeseg build --int8"
    raise UsageError(f"There is no engine '{word}', neither as a file nor in {store.folder}.", hint=hint)


def _heal(store: EngineStore) -> None:
    """Finish a replacement that another process began and did not live to finish."""
    if (store.folder / JOURNAL).is_file() and os.access(store.folder, os.W_OK):
        # Another process that builds here has finished the replacement already.
        with suppress(UsageError), store.staging(wait_s=0):
            pass


def load_session(
    engine: Engine | str | Path | None = None,
    output: Output = "class_map",
    *,
    batch: int | None = None,
    frame_hw: tuple[int, int] | None = None,
) -> Session:
    """A session that still gives the answer to the golden frame that it gave when it was measured.

    Args:
        engine: To open, or the path or name of one; None is the one that was built last.
        output: What the session gives.
        batch, frame_hw: As `Backend.load` takes them.

    Raises:
        UsageError: There is no such engine, it takes another number of frames, or its library does not resize.
        EngineMismatch: It answers otherwise here, or it was built for another library version, GPU or graph.
        MissingDependency: The engine's library is not installed.
        ModelFileError: The library refuses the file, this machine did not sign its card, or the golden pair is missing.
    """
    engine = engine if isinstance(engine, Engine) else find_engine(engine)
    backend = open_backend(engine.card.backend)
    check_own(engine, backend)
    check = "golden" in engine.card.measured
    if check and (frame_hw is not None or output != "class_map"):
        # The golden pair is a frame of the network's size and a class map.
        with backend.load(engine, batch=batch) as session:
            check_golden(session, engine)
        return backend.load(engine, output, batch=batch, frame_hw=frame_hw)
    session = backend.load(engine, output, batch=batch, frame_hw=frame_hw)
    if check:
        try:
            check_golden(session, engine)
        except BaseException:
            session.close()
            raise
    return session


def check_own(engine: Engine, backend: Backend) -> None:
    """Refuse an engine of native code that does not fit this machine, or that this machine did not sign.

    Raises:
        EngineMismatch: It was built for another library version, GPU or graph.
        ModelFileError: This machine did not sign its card.
    """
    if backend.native:
        if misfit := backend.misfit(engine.card):
            raise EngineMismatch(f"The engine {engine.path} does not fit this machine. {misfit}", hint=RENEW)
        check_graph_beside(engine)
        check_signature(engine)


def graph_beside(engine: Path) -> Path:
    """Where the graph lies that an engine of native code was built from: the engine's whole name and `.onnx`."""
    return engine.with_name(engine.name + ".onnx")


def cache_beside(engine: Path) -> Path:
    """Where the calibration cache lies that an engine was built with, if any: the engine's whole name and `.cache`."""
    return engine.with_name(engine.name + ".cache")


def check_graph_beside(engine: Engine) -> None:
    """Refuse an engine beside which another graph lies than that it was built from.

    Raises:
        EngineMismatch: It is another's.
    """
    path, wanted = graph_beside(engine.path), engine.card.made_from.get("engine_graph_file")
    if path.is_file() and sha256_file(path) != wanted:
        raise EngineMismatch(f"The engine {engine.path} was built from another graph than {path.name}.", hint=RENEW)


def files_of(engine: Path) -> list[Path]:
    """All files of one engine that there are."""
    beside = (card_path(engine), *golden_paths(engine), layers_path(engine), graph_beside(engine), cache_beside(engine))
    return [path for path in (engine, *beside) if path.is_file()]
