"""Frames without labels, to calibrate and to gate on: chosen evenly, in a fixed order, and hashed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeseg.data.calibration_file import CalibrationSet
from edgeseg.data.images import IMAGE_SUFFIXES, frame_files, read_frame
from edgeseg.data.labelled import find_data_set
from edgeseg.data.scene import Scene
from edgeseg.data.synthetic import parse_synthetic
from edgeseg.data.uri import local_path, split_scheme, without_password
from edgeseg.data.video import VideoFile
from edgeseg.errors import EdgesegError, UsageError
from edgeseg.files import sha256_bytes, sha256_file
from edgeseg.recipes import decode_toml, find_toml

__all__ = ["CalibrationSet", "FrameSet", "NamedFrame", "image_key", "open_frames"]

Frame = npt.NDArray[np.uint8]
logger = logging.getLogger(__name__)

#: Frames of a source that has no end, unless told otherwise.
ENDLESS = 100
#: Largest share of unreadable images that is passed over.
UNREADABLE = 0.01


class NamedFrame(NamedTuple):
    """`frame` is `(H, W, 3)` uint8 BGR; `name` tells where it came from."""

    name: str
    frame: Frame


class _Place(NamedTuple):
    """Where a frame stands in its source, and a key that is the same wherever the same frame lies."""

    at: int
    name: str
    key: str


class _Choice(NamedTuple):
    """Which frames of a source are chosen: those of `numbers` if any, else at most `limit` of each `every`-th."""

    limit: int | None = None
    every: int = 1
    numbers: tuple[int, ...] = ()

    def of(self, count: int, source: str) -> Sequence[int]:
        """Indices into `count` frames: the numbers, or each in the middle of its share, so that no end is favoured."""
        if self.numbers:
            if self.numbers[-1] >= count:
                raise UsageError(
                    f"There is no frame {self.numbers[-1]} in {source}: it has {count}, from 0 to {count - 1}.",
                    hint="Is it whole and unchanged? Choose anew: edgeseg calibrate MODEL SOURCE --select N -o SET",
                )
            return self.numbers
        candidates, limit = range(0, count, self.every), self.limit
        if limit is None or limit >= len(candidates):
            return candidates
        return [candidates[(2 * i + 1) * len(candidates) // (2 * limit)] for i in range(limit)]


@dataclass(frozen=True)
class FrameSet:
    """Frames in a fixed order, decoded anew in each iteration and never held together in memory.

    Attributes:
        source: Where they come from, as it was given.
        origin: The folder, image, list, video or URI that `numbers` count in; not `source` for a calibration set.
    """

    source: str
    _places: tuple[_Place, ...]
    _read: Callable[[Sequence[int]], Iterator[Frame]]
    origin: str = ""

    @property
    def sha256(self) -> str:
        """Hex digest of what was chosen: the content of the files, and the frames' numbers in a video. Not of names."""
        return sha256_bytes("\n".join(place.key for place in self._places).encode())

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[NamedFrame]:
        frames = self._read([place.at for place in self._places])
        return (NamedFrame(place.name, frame) for place, frame in zip(self._places, frames, strict=True))

    @property
    def keys(self) -> tuple[str, ...]:
        """For each frame a short hash of its content, by which it is known again in another set."""
        return tuple(_short(place.key) for place in self._places)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the frames: their file, or their number in a video."""
        return tuple(place.name for place in self._places)

    @property
    def numbers(self) -> tuple[int, ...]:
        """For each frame its place in `origin`, counted from 0."""
        return tuple(place.at for place in self._places)

    def watched(self, see: Callable[[NamedFrame], None]) -> FrameSet:
        """The same frames; each is shown to `see` in passing, before it is given."""
        names = {place.at: place.name for place in self._places}

        def read(indices: Sequence[int]) -> Iterator[Frame]:
            for at, frame in zip(indices, self._read(indices), strict=True):
                see(NamedFrame(names[at], frame))
                yield frame

        return replace(self, _read=read)

    def take(self, indices: Sequence[int]) -> FrameSet:
        """The frames at these places of this set."""
        return replace(self, _places=tuple(self._places[index] for index in indices))

    def without(self, keys: Collection[str]) -> FrameSet:
        """The frames of this set whose keys are not among `keys`; it may be empty."""
        left = (place for place in self._places if _short(place.key) not in keys)
        return replace(self, _places=tuple(left))

    def choose(self, limit: int | None = None, every: int = 1) -> FrameSet:
        """Each `every`-th frame, and of these at most `limit`, evenly spaced."""
        return self.take(_Choice(limit, every).of(len(self), self.source))


def image_key(path: Path) -> str:
    """The key that a `FrameSet` gives the image in a file."""
    return _short(sha256_file(path))


def _short(key: str) -> str:
    return sha256_bytes(key.encode())[:16]


def open_frames(source: str | Path, *, limit: int | None = None, every: int = 1) -> FrameSet:
    """The frames of a source that has an end.

    Args:
        source: A folder of images (searched through), an image, a list of images (`.txt`, one path a line, from the
            list's folder), a video, a calibration set (`.toml`, or the name of a shipped one), `demo://bikes`, or
            `synthetic://?frames=…`. Labels beside the images of a data set are left out.
        limit: At most so many frames, evenly spaced.
        every: Only each n-th frame is open to choice.

    Raises:
        UsageError: There is no such source, it holds no image, a number is below 1, or a calibration set's frames
            are others than it was made of.
        EdgesegError: More than 1 % of the chosen images can't be decoded; they are named. Fewer are left out, with
            a warning.
        SourceLost: The video can't be decoded.
        MissingDependency: The package with the demo video is not installed.
    """
    if every < 1 or (limit is not None and limit < 1):
        raise UsageError(f"Frames are chosen by numbers from 1 on; given were limit {limit} and every {every}.")
    name = str(source)
    toml = _set_file(name)
    return _open_set(toml, name).choose(limit, every) if toml else _open_plain(name, _Choice(limit, every))


def _set_file(name: str) -> Path | None:
    """The calibration set that `name` means, by its path or by the name of a shipped one."""
    path = local_path(name)
    if path is None or (path.exists() and path.suffix != ".toml"):
        return None
    try:
        return find_toml(str(path), "calibration")
    except UsageError as error:
        raise UsageError(f"There is no file, folder or calibration set '{name}'.", hint=error.hint) from error


def _open_set(path: Path, name: str) -> FrameSet:
    spec = decode_toml(path, CalibrationSet)
    source = spec.source
    if not split_scheme(source)[0]:
        source = str((find_data_set(spec.data) if spec.data else path.parent) / source)
    choice = _Choice(spec.frames, spec.every, spec.numbers or ())
    frames = replace(_open_plain(source, choice), source=name)
    if spec.sha256 not in ("", frames.sha256):
        raise UsageError(
            f"The calibration set {path} was made of other frames: {spec.sha256[:12]}…, found {frames.sha256[:12]}….",
            hint=f"Is {source} whole and unchanged? To take it as it is, remove sha256 from the set.",
        )
    return frames


def _open_plain(name: str, choice: _Choice) -> FrameSet:
    if split_scheme(name)[0] == "synthetic":
        return _open_synthetic(name, choice)
    path = local_path(name)
    if path is None or not path.exists() or path.suffix.lower() == ".toml":
        raise UsageError(
            f"'{without_password(name)}' is no source of frames with an end.",
            hint="Possible: a folder of images, a list (.txt), a video, a calibration set, demo://bikes, synthetic://",
        )
    if path.is_dir():
        return _open_images(name, _below(path), choice)
    if path.suffix.lower() == ".txt":
        return _open_images(name, _listed(path), choice)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _open_images(name, [path], choice)
    return _open_video(name, path, choice)


def _below(folder: Path) -> list[Path]:
    images = frame_files(folder)
    if not images:
        raise UsageError(
            f"There are no images in {folder}.", hint=f"Looked for {' '.join(IMAGE_SUFFIXES)}, in subfolders too."
        )
    return images


def _listed(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"The list {path} is no text: {error}.") from error
    images = [path.parent / line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not images:
        raise UsageError(f"The list {path} names no image.", hint="Write one path a line, relative to the list.")
    return images


def _open_images(name: str, paths: list[Path], choice: _Choice) -> FrameSet:
    chosen = [(i, paths[i]) for i in choice.of(len(paths), name)]
    bad = [path for _, path in chosen if not _readable(path)]
    if len(bad) > UNREADABLE * len(chosen):
        shown = ", ".join(map(str, bad[:5])) + (" and others" if len(bad) > 5 else "")
        raise EdgesegError(
            f"{len(bad)} of {len(chosen)} images of {name} can't be decoded: {shown}.",
            hint=f"Mend or remove them; up to {UNREADABLE:.0%} are left out with a warning.",
        )
    for path in bad:
        logger.warning("The image %s can't be decoded; it is left out.", path)
    places = tuple(_Place(i, str(path), sha256_file(path)) for i, path in chosen if path not in bad)
    if len(places) > 1 and len({place.key for place in places}) == 1:
        logger.warning("All %d images of %s are the same.", len(places), name)
    return FrameSet(name, places, lambda indices: (read_frame(paths[i]) for i in indices), name)


def _readable(path: Path) -> bool:
    try:
        read_frame(path)
    except EdgesegError:
        return False
    return True


def _open_video(name: str, path: Path, choice: _Choice) -> FrameSet:
    with VideoFile(path) as video:
        while video.skip():
            pass
        count = video.decoded
    content = sha256_file(path)
    places = (_Place(i, f"{path.name}#{i}", f"{content} {i}") for i in choice.of(count, name))
    return FrameSet(name, tuple(places), lambda indices: _decode(path, indices), name)


def _decode(path: Path, indices: Sequence[int]) -> Iterator[Frame]:
    with VideoFile(path) as video:
        for index in indices:
            while video.decoded < index and video.skip():
                pass
            frame = video.read()
            if frame is None:
                raise EdgesegError(f"The video {path} changed while it was read.")
            yield frame


def _open_synthetic(uri: str, choice: _Choice) -> FrameSet:
    spec = parse_synthetic(uri)

    def render(indices: Sequence[int]) -> Iterator[Frame]:
        scenes = {size: Scene(size, spec.seed) for size in {spec.size_at(i) for i in indices}}
        return (scenes[spec.size_at(i)].render(spec.shown_at(i)) for i in indices)

    chosen = choice.of(spec.frames or choice.limit or max(choice.numbers, default=ENDLESS - 1) + 1, uri)
    keys = (sha256_bytes(frame.tobytes()) for frame in render(chosen))
    places = tuple(_Place(i, f"synthetic#{i}", key) for i, key in zip(chosen, keys, strict=True))
    return FrameSet(uri, places, render, uri)
