"""edgeseg: from a trained segmentation network to a gated INT8 engine on a camera.

Importing this package loads nothing heavy. What a stage needs is imported by that stage; the names below are imported
when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseg.build.store import find_engine, load_session
    from edgeseg.labels import LabelSet
    from edgeseg.stream import (
        Callbacks,
        Captured,
        Patience,
        Roi,
        Segmented,
        Sink,
        Source,
        StreamOptions,
        StreamReport,
        open_sink,
        open_source,
        run_stream,
        segment_frame,
    )

__version__ = "0.1.0"
__all__ = [
    "Callbacks",
    "Captured",
    "LabelSet",
    "Patience",
    "Roi",
    "Segmented",
    "Sink",
    "Source",
    "StreamOptions",
    "StreamReport",
    "__version__",
    "find_engine",
    "load_session",
    "open_sink",
    "open_source",
    "run_stream",
    "segment_frame",
]

_ELSEWHERE = {
    "LabelSet": "edgeseg.labels",
    "find_engine": "edgeseg.build.store",
    "load_session": "edgeseg.build.store",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edgeseg' has no attribute '{name}'")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "edgeseg.stream")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
