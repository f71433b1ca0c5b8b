"""Records on disk, each tied to the samples that it is of."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.files import atomic_path, sha256_bytes

__all__ = ["Samples", "read_json", "read_samples", "write_both"]

Samples = Mapping[str, npt.NDArray[Any]]
RecordT = TypeVar("RecordT")


class Sampled(Protocol):
    """A record whose samples lie in a `.npz` beside it; the hash of that file is empty until it is written."""

    @property
    def samples(self) -> str: ...
    @property
    def samples_sha256(self) -> str: ...


def write_both(record: msgspec.Struct, samples: Samples, path: Path, beside: str) -> None:
    """Write samples, and the record with their hash: both or, where the disk is full, none.

    Args:
        record: A `Sampled`.
        samples: Its arrays.
        path: Of the record's JSON.
        beside: Name of the samples' file.
    """
    archive = io.BytesIO()
    np.savez_compressed(archive, **samples)  # type: ignore[arg-type]
    content = archive.getvalue()
    tied = msgspec.structs.replace(record, samples_sha256=sha256_bytes(content))
    # What is entered last takes its place first: where there is a record, its samples are there.
    with atomic_path(path) as part, atomic_path(path.parent / beside) as samples_part:
        samples_part.write_bytes(content)
        part.write_bytes(msgspec.json.format(msgspec.json.encode(tied), indent=2) + b"\n")


def read_json(path: Path, kind: type[RecordT], schema: str, again: str) -> RecordT:
    """The record in a file.

    Args:
        path: Of its JSON.
        kind: What it is to be.
        schema: That kind's version.
        again: Command that measures anew.

    Raises:
        UsageError: There is none, or it is of another version.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{path} is no record of schema {schema}: {error}.", hint=f"Measure again: {again}") from error


def read_samples(path: Path, record: Sampled, again: str) -> dict[str, npt.NDArray[Any]]:
    """The samples beside a record.

    Args:
        path: Of the record's JSON.
        record: What was read from it.
        again: Command that measures anew.

    Raises:
        UsageError: They are missing or damaged, or those of another record.
    """
    beside = path.parent / Path(record.samples).name
    try:
        content = beside.read_bytes()
        if record.samples_sha256 not in ("", sha256_bytes(content)):
            raise ValueError("the file is not the one that was written with the record")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(
            f"The samples of {path} can't be read from {beside}: {error}.", hint=f"Measure again: {again}"
        ) from error
