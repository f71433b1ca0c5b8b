"""Files: written whole or not at all, hashed, found."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

__all__ = [
    "atomic_path",
    "cache_folder",
    "engines_folder",
    "sha256_bytes",
    "sha256_file",
    "shared_folder",
    "write_bytes",
]


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; on success it replaces `path`, else it is removed.

    What stood at `path` stays whole until the new file is complete and on disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=f".part{path.suffix}", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        _sync(part)
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, path)
        _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` whole or not at all."""
    with atomic_path(path) as part:
        part.write_bytes(content)


def sha256_bytes(content: bytes) -> str:
    """Hex digest of `content`."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def shared_folder(kind: Literal["calibration", "engines", "recipes"]) -> Path:
    """The folder with the `.toml` files of one kind that edgeseg ships, in a clone and in an install."""
    clone = _clone()
    if clone is not None:
        return clone / kind
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    folders = [Path(sysconfig.get_path("data", scheme), "share", "edgeseg", kind) for scheme in schemes]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def engines_folder() -> Path:
    """Where engines go that are given no other place: `engines/build` of the clone, else below `cache_folder`."""
    clone = _clone()
    return clone / "engines" / "build" if clone is not None else cache_folder() / "engines"


def cache_folder() -> Path:
    """What may be made anew lies here: the platform's cache folder for edgeseg. It need not exist yet."""
    from platformdirs import user_cache_path

    return user_cache_path("edgeseg", appauthor=False)


def _clone() -> Path | None:
    """The clone that this package runs from, also after `pip install -e`; None for an installed copy."""
    folder = Path(__file__).resolve().parents[1]
    return folder if (folder / "setup.cfg").is_file() else None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
