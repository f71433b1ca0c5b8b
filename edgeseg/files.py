"""Files: written whole or not at all, hashed, found."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sysconfig
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Literal

from edgeseg.errors import ModelFileError

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message

__all__ = [
    "atomic_path",
    "cache_folder",
    "engines_folder",
    "move_into_place",
    "refuse_outside_data",
    "sha256_bytes",
    "sha256_file",
    "shared_folder",
    "write_bytes",
]


@contextlib.contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `path` to write to; on success it replaces `path`, else it is removed.

    What stood at `path` stays whole until the new file is complete and, where `durable`, on disk. Without that a
    process that is killed still leaves no broken file, but a power failure may: for many small files, which cost little
    so.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.part{path.suffix}")
    part.touch(exist_ok=False)
    try:
        yield part
        if durable:
            move_into_place(part, path)
        else:
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def move_into_place(part: Path, path: Path) -> None:
    """Replace `path` by the complete file `part` of the same folder, once that is on disk."""
    _sync(part)
    os.replace(part, path)
    _sync(path.parent)


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write `content` to `path` whole or not at all; see `atomic_path`."""
    with atomic_path(path, durable=durable) as part:
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


def refuse_outside_data(path: Path, *, embedded: bool = False) -> None:
    """Refuse an ONNX file that is damaged, or whose weights lie anywhere but in its own folder.

    To be called before any library loads the file: several of them follow such a path wherever it leads.

    Args:
        path: An ONNX file, with or without external data.
        embedded: Refuse all external data, because the file alone is what was hashed.

    Raises:
        ModelFileError: The file is missing, empty, cut short or no ONNX; or a weight's location is absolute,
            contains `..`, leads out of the folder, or names a symbolic link, a hard link or no file.
    """
    import onnx

    model = _parse_onnx(path)
    for message in _messages(model):
        if isinstance(message, onnx.TensorProto) and (message.external_data or message.data_location):
            for location in [entry.value for entry in message.external_data if entry.key == "location"] or [""]:
                reason = "an engine holds all its weights itself" if embedded else _outside(location, path.parent)
                if reason:
                    raise ModelFileError(
                        f"The model {path} was refused: weight '{message.name}' lies in '{location}', and {reason}.",
                        hint="Weights must lie in the model file or in a plain file beside it; save the model anew so.",
                    )


def _parse_onnx(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise ModelFileError(f"There is no model file at {path}.")
    size = path.stat().st_size
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
        reason = "" if len(model.graph.node) and len(model.opset_import) else "it holds no graph"
    except (DecodeError, ValueError) as error:
        reason = " ".join(str(error).split()) or "it is cut short or no ONNX"
    if reason or not size:
        raise ModelFileError(
            f"The model {path} can't be read ({size} bytes): {reason if size else 'it is empty'}.",
            hint="Copy or export it again.",
        )
    return model


def _messages(message: Message) -> Iterator[Message]:
    """A message and all within it, so that no tensor is overlooked in a subgraph, an attribute or a function."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(child)


def _outside(location: str, folder: Path) -> str:
    """Why external data at `location` of a model in `folder` may not be read; empty if it may."""
    if PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive:
        return "that path is absolute"
    if ".." in location.replace("\\", "/").split("/"):
        return "that path leads upwards"
    data = folder / location
    if data.is_symlink():
        return "that is a symbolic link"
    if not data.is_file():
        return "there is no such file"
    if not data.resolve().is_relative_to(folder.resolve()):
        return "that leads out of the model's folder"
    return "that file has a second name (hard link)" if data.stat().st_nlink > 1 else ""


def shared_folder(kind: Literal["calibration", "engines", "recipes"]) -> Path:
    """The folder with the `.toml` files of one kind that edgeseg ships, in a clone and in an install."""
    clone = _clone()
    if clone is not None:
        return clone / kind
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    folders = [Path(sysconfig.get_path("data", scheme), "share", "edgeseg", kind) for scheme in schemes]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def engines_folder() -> Path:
    """Where engines go that are given no other place.

    That is `EDGESEG_ENGINES` where it is set, else `engines/build` of the clone, else below `cache_folder`.
    """
    if os.environ.get("EDGESEG_ENGINES"):
        return Path(os.environ["EDGESEG_ENGINES"])
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


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
