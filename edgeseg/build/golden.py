"""The golden pair of an engine: a rendered frame, and the class map by which the engine is known again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseg.backends import Engine, Session
from edgeseg.backends.base import REBUILD
from edgeseg.errors import EngineMismatch, ModelFileError
from edgeseg.files import sha256_file, write_bytes
from edgeseg.labels import VOID

__all__ = ["SAME", "check_golden", "golden_paths", "read_golden", "write_golden"]

UInt8 = npt.NDArray[np.uint8]
#: Share of a golden class map's pixels that must be equal at every load.
SAME = 0.999
#: Share of float's confident pixels that must be equal where the engine could not answer when it was built.
LIKE_FLOAT = 0.96


def golden_paths(engine: Path) -> tuple[Path, Path]:
    """Where the golden frame and the engine's own class map of it lie, as PNG."""
    return engine.with_name(engine.name + ".golden-frame.png"), engine.with_name(engine.name + ".golden-map.png")


def check_golden(session: Session, engine: Engine, *, least: float = SAME) -> UInt8:
    """Compare a session's answer to the golden frame with the recorded one; that answer, `(H, W)`.

    Where the engine could not be run when it was built, the record is float's, and counts where float is confident.

    Args:
        session: To ask.
        engine: Has the record.
        least: Share of the pixels that must be equal.

    Raises:
        EngineMismatch: Fewer are, or fewer than 96 % where they are compared with float's.
        ModelFileError: The record is missing or damaged.
    """
    frame, expected = read_golden(engine)
    buffer = session.input_buffer()
    if buffer.shape[1:] != frame.shape or buffer.shape[1:3] != expected.shape:
        raise EngineMismatch(f"The golden pair of {engine.path} is of another size than the engine.", hint=REBUILD)
    answer = np.asarray(session.infer(np.repeat(frame[None], buffer.shape[0], 0)), np.uint8)
    by_float = engine.card.measured.get("golden_by") == "float"
    judged = expected != VOID if by_float else np.ones_like(expected, np.bool_)
    same = float((answer == expected)[:, judged].mean()) if judged.any() else 1.0
    if by_float and same < LIKE_FLOAT:
        raise EngineMismatch(
            f"The engine {engine.path}, which could not be run where it was built, agrees with float on "
            f"{100 * same:.2f} % of the pixels that float is confident of; {100 * LIKE_FLOAT:g} % are needed.",
            hint=REBUILD,
        )
    if not by_float and same < least:
        raise EngineMismatch(
            f"The engine {engine.path} does not compute what was measured when it was built: "
            f"{100 * same:.2f} % of its golden class map are equal, {100 * least:g} % are needed.",
            hint=REBUILD,
        )
    own: UInt8 = answer[0]
    return own


def read_golden(engine: Engine) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Golden frame `(H, W, channels)` and class map `(H, W)`, both uint8.

    Raises:
        ModelFileError: They are missing, or not those that the card describes.
    """
    import cv2

    paths = golden_paths(engine.path)
    found = [sha256_file(path) if path.is_file() else "" for path in paths]
    if found != engine.card.measured.get("golden"):
        raise ModelFileError(f"The golden pair of {engine.path} is missing or damaged.", hint=REBUILD)
    frame, expected = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths)
    return np.asarray(frame, np.uint8), np.asarray(expected, np.uint8)


def write_golden(engine: Path, frame: npt.NDArray[np.uint8], class_map: npt.NDArray[np.uint8]) -> list[str]:
    """Write the golden pair beside an engine, the frame as the engine takes it; the files' sha256 go onto its card."""
    import cv2

    paths = golden_paths(engine)
    for path, image in zip(paths, (frame, class_map), strict=True):
        write_bytes(path, cv2.imencode(".png", image)[1].tobytes())
    return [sha256_file(path) for path in paths]
