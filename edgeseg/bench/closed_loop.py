"""Calls of a session in a closed loop, to compare two of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends import Session
from edgeseg.data.resize import frame_for_card

__all__ = ["INFERENCE", "WITH_RESIZE", "Timing", "stages", "timing"]

INFERENCE, WITH_RESIZE = "inference", "with_resize"
Stage = Callable[[], object]


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Calls in a closed loop: each begins when the one before is done.

    Attributes:
        runs: Scored calls.
        fps: Frames over the time that the calls took.
        percentiles_ms: Latency of a call by percentile; None where too few runs lie beyond it.
    """

    runs: int
    fps: float
    percentiles_ms: dict[str, float | None]
    min_ms: float
    mean_ms: float
    max_ms: float


def timing(samples_ns: Sequence[int], percentiles: Sequence[float], batch: int) -> Timing:
    """Figures of at least one sample.

    A percentile is given where at least one run lies beyond it: the 99th from 100 runs on.

    Args:
        samples_ns: Nanoseconds by call.
        percentiles: Above 0 and below 100.
        batch: Frames per call.
    """
    ms = np.asarray(samples_ns, np.float64) / 1e6
    enough = {p: len(ms) * (100 - p) >= 100 for p in percentiles}
    return Timing(
        runs=len(ms),
        fps=1e3 * batch * len(ms) / float(ms.sum()),
        percentiles_ms={f"{p:g}": float(np.percentile(ms, p)) if enough[p] else None for p in percentiles},
        min_ms=float(ms.min()),
        mean_ms=float(ms.mean()),
        max_ms=float(ms.max()),
    )


def stages(session: Session, camera: npt.NDArray[np.uint8]) -> dict[str, Stage]:
    """What is timed of a session: inference alone, and with the resize of a camera's frame before it.

    Both input buffers hold the frame afterwards. A session that resizes does so within inference.
    """

    def with_resize() -> None:
        for slot in session.input_buffer():
            frame_for_card(camera, session.card.preprocess, slot)
        session.submit().result()

    def inference() -> None:
        session.submit().result()

    for _ in range(2):
        with_resize()
    return {INFERENCE: inference, WITH_RESIZE: with_resize}
