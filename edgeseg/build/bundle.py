"""A bundle: one file with all that a board needs to build engines of a model, and to judge them, without onnx."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends.form import GraphForm
from edgeseg.build.graph_facts import GraphFacts
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import Gate, GateKind, Verdict
from edgeseg.card import Card, Dialect, Int8Recipe
from edgeseg.errors import ModelFileError, UsageError
from edgeseg.files import atomic_path, sha256_bytes

__all__ = [
    "MANIFEST",
    "PREPARED",
    "SUFFIX",
    "Bundle",
    "Manifest",
    "PackedGate",
    "PackedGraph",
    "PackedInt8",
    "graph_name",
    "is_bundle",
    "write_bundle",
]

UInt8 = npt.NDArray[np.uint8]
SCHEMA = "edgeseg.bundle/1"
SUFFIX = ".bundle"
MANIFEST, PREPARED = "bundle.json", "prepared.onnx"
#: Unpacked bytes that a part may have, by its suffix.
LARGEST = {".json": 1 << 26, ".png": 1 << 28, ".npz": 1 << 30, ".onnx": 1 << 31}
METHODS, ENCRYPTED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED), 1
#: When all parts were written, so that the same parts are the same bytes.
WRITTEN = (1980, 1, 1, 0, 0, 0)


#: Of at most a million frames, counted.
FrameName = Annotated[str, msgspec.Meta(pattern=r"^\d{5,6}$")]


class PackedGraph(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A graph that an engine is built from; its file has the form's name."""

    form: GraphForm
    facts: GraphFacts


class PackedInt8(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One dialect: how its graphs were quantized, and what the gate said of them where they were packed.

    Attributes:
        ranges: Part that holds them.
    """

    recipe: Int8Recipe
    ranges: str
    verdict: Verdict
    reason: str
    gate: Gate


class PackedGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What engines are judged on.

    Attributes:
        kind: As in a report of a build.
        frames: Names of the frames. Each has a picture `gate/NAME.frame.png` at the network's size, BGR, float's class
            map `gate/NAME.map.png`, and the label `gate/NAME.label.png`, or else `gate/NAME.sure.png`, where float is
            confident.
        warnings: What is to be said of them.
    """

    kind: GateKind
    frames: tuple[FrameName, ...] = ()
    warnings: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a bundle holds.

    Attributes:
        recipe: That it was packed by.
        card: Of the prepared graph, `prepared.onnx`.
        gate: Frames to judge on.
        int8: By dialect.
        graphs: Those that engines are built from.
        search_keys: Keys of the frames that choices were made by, which prove nothing.
        warnings: What was to be said when it was packed.
        files: sha256 of every other part, by name.
    """

    schema: str = SCHEMA
    recipe: BuildRecipe
    card: Card
    gate: PackedGate
    int8: dict[Dialect, PackedInt8]
    graphs: tuple[PackedGraph, ...]
    search_keys: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    files: dict[str, str]


class _Schema(msgspec.Struct):
    schema: str


class Bundle:
    """A bundle on disk. Every part is compared with its hash when it is read.

    Raises:
        UsageError: There is no such file.
        ModelFileError: It is damaged, or no bundle that this edgeseg reads.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UsageError(f"There is no bundle at {path}.", hint="Make one: edgeseg pack MODEL -o FILE.bundle")
        with self._told_as_damage("it is no bundle"):
            self._archive = zipfile.ZipFile(self.path)
        text = self._bytes(MANIFEST)
        try:
            schema = msgspec.json.decode(text, type=_Schema).schema
            if schema != SCHEMA:
                raise ModelFileError(
                    f"The bundle {path} has schema {schema}, this edgeseg reads {SCHEMA}.", hint="Update edgeseg."
                )
            self.manifest = msgspec.json.decode(text, type=Manifest)
        except msgspec.MsgspecError as error:
            raise self._refusal(f"{MANIFEST} can't be read: {error}") from error

    def read(self, name: str) -> bytes:
        """One part.

        Raises:
            ModelFileError: It is missing or damaged.
        """
        content = self._bytes(name)
        if sha256_bytes(content) != self.manifest.files.get(name):
            raise self._refusal(f"{name} is not what {MANIFEST} says")
        return content

    def picture(self, name: str, *, channels: int = 1, sized: bool = True) -> UInt8:
        """A picture, `(H, W, 3)` BGR or `(H, W)`.

        Args:
            name: Of the part.
            channels: That it has.
            sized: It has the network's size.

        Raises:
            ModelFileError: It is missing, damaged or another picture.
        """
        content = np.frombuffer(self.read(name), np.uint8)
        with self._told_as_damage(f"{name} is no picture"):
            image: Any = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        wanted = (*self.manifest.card.fixed_size_hw, *([channels] if channels > 1 else []))
        if image is None or image.ndim != len(wanted) or (sized and image.shape != wanted):
            raise self._refusal(f"{name} is no picture of its size and channels")
        return cast(UInt8, image)

    def _bytes(self, name: str) -> bytes:
        with self._told_as_damage(name):
            info = self._archive.getinfo(name)
            most = next((most for suffix, most in LARGEST.items() if name.endswith(suffix)), 0)
            if info.file_size > most or info.compress_type not in METHODS or info.flag_bits & ENCRYPTED:
                raise self._refusal(f"{name} is too large, encrypted, or packed by another method")
            return self._archive.read(name)

    @contextmanager
    def _told_as_damage(self, what: str) -> Iterator[None]:
        try:
            yield
        except (zipfile.BadZipFile, KeyError, zlib.error, EOFError, OSError, ValueError, cv2.error) as error:
            said = " ".join(str(error).split()).strip("'\"")
            raise self._refusal(f"{what} ({said})") from error

    def _refusal(self, reason: str) -> ModelFileError:
        return ModelFileError(
            f"The bundle {self.path} can't be read: {reason}.", hint="Copy it again, or pack it anew: edgeseg pack"
        )


def is_bundle(word: str) -> bool:
    """Whether the name of a model is that of a bundle."""
    return Path(word).suffix == SUFFIX


def graph_name(form: GraphForm) -> str:
    """The part that holds the graph of a form."""
    return f"graphs/{form.name}.onnx"


def write_bundle(path: Path, manifest: Manifest, parts: Mapping[str, Path]) -> None:
    """Write a bundle, whole or not at all; the hashes of its parts are put into the manifest.

    Args:
        path: The file.
        manifest: Without `files`.
        parts: Their files, by name.
    """
    hashes = {}
    with atomic_path(path) as whole, zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(parts):
            content = parts[name].read_bytes()
            hashes[name] = sha256_bytes(content)
            file.writestr(_info(name), content)
        file.writestr(_info(MANIFEST), msgspec.json.encode(msgspec.structs.replace(manifest, files=hashes)))


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, WRITTEN)
    info.compress_type = zipfile.ZIP_DEFLATED if not name.endswith((".png", ".npz")) else zipfile.ZIP_STORED
    return info
