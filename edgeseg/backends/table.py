"""Backends by name: a table of import strings."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TypeVar

from edgeseg.backends.base import Backend
from edgeseg.errors import MissingDependency, UsageError, nearest

__all__ = ["BACKENDS", "backend_class", "installed_backends", "open_backend"]

T = TypeVar("T")

#: Name to `module:class`; the order is that of `--backend auto`. Not tried by it: `fake`.
BACKENDS = {
    "tensorrt": "edgeseg.backends.tensorrt.backend:TensorRt",
    "tensorrt-rtx": "edgeseg.backends.tensorrt.backend:TensorRtRtx",
    "openvino": "edgeseg.backends.ov:OpenVino",
    "onnxruntime": "edgeseg.backends.ort:OnnxRuntime",
    "fake": "edgeseg.backends.fake:Fake",
}


def open_backend(name: str) -> Backend:
    """The backend of that name, its library imported.

    Raises:
        UsageError: There is no such backend.
        MissingDependency: Its library is not installed. An error inside an installed library passes through.
    """
    return _of_table(name, open_it=lambda kind: kind())


def backend_class(name: str) -> type[Backend]:
    """The class of the backend of that name, which for TensorRT does without the library.

    Raises:
        UsageError: There is no such backend.
        MissingDependency: Its library is needed and not installed.
    """
    return _of_table(name, open_it=lambda kind: kind)


def _of_table(name: str, *, open_it: Callable[[type[Backend]], T]) -> T:
    if name not in BACKENDS:
        raise UsageError(f"There is no backend '{name}'.", hint=nearest(name, BACKENDS))
    module, _, attribute = BACKENDS[name].partition(":")
    try:
        return open_it(getattr(importlib.import_module(module), attribute))
    except ModuleNotFoundError as error:
        if error.name not in (name, "cv2", "onnx"):
            raise
        extra = "vision" if error.name == "cv2" else name
        raise MissingDependency(
            f"Backend '{name}' needs the package '{error.name}', which is not installed.",
            hint=f"Install it: pip install 'edgeseg[{extra}]'",
        ) from error


def installed_backends() -> list[Backend]:
    """All backends whose library is installed, in the order of the table, without `fake`."""
    found = []
    for name in BACKENDS:
        if name != "fake":
            try:
                found.append(open_backend(name))
            except MissingDependency:
                continue
    return found
