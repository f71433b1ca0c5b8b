"""Edgeseg's command line where edgeseg finds numpy and OpenCV alone beside its own requirements.

Other packages may import what they like, so that a GPU that is none can compute by ONNX Runtime.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType

MISSING = {"PIL", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "openvino", "safetensors", "scipy", "torch"}


class Missing(MetaPathFinder):
    """Finds nothing for edgeseg of what a bare board lacks, and has no say in what others import."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in MISSING and _asking().startswith("edgeseg"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return None


def _asking() -> str:
    """The module that imports."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__", ""))


if __name__ == "__main__":
    sys.meta_path.insert(0, Missing())
    from edgeseg.cli import main

    sys.exit(main())
