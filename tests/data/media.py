"""Images and videos made by the tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.data.scene import Scene

SIZE_HW = (48, 64)


def street(count: int, size_hw: tuple[int, int] = SIZE_HW, seed: int = 0) -> list[npt.NDArray[np.uint8]]:
    """Frames `(H, W, 3)` uint8 BGR, all different."""
    scene = Scene(size_hw, seed)
    return [scene.render(index) for index in range(count)]


def write_images(folder: Path, names: list[str]) -> list[npt.NDArray[np.uint8]]:
    """A lossless image per name, folders made as needed; gives back what was written."""
    frames = street(len(names))
    for name, frame in zip(names, frames, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), frame)
    return frames


def write_video(path: Path, count: int, size_hw: tuple[int, int] = SIZE_HW, fps: float = 25.0) -> None:
    """A video of `count` frames, each a whole JPEG, in AVI: what is cut off of it still opens."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (size_hw[1], size_hw[0]))
    for frame in street(count, size_hw):
        writer.write(frame)
    writer.release()


def cut(path: Path, share: float) -> Path:
    """Cut the end of a file off, so that `share` of it stays."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
