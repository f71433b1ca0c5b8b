"""CUDA's compiler at run time. It needs no GPU."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from edgeseg.device.cuda.base import PACKAGE, CudaError
from edgeseg.errors import MissingDependency

__all__ = ["compile_cubin"]

INSTALL = "Install it: pip install nvidia-cuda-nvrtc, on a Jetson: sudo apt install cuda-nvrtc-12-6 (JetPack 6)"


def compile_cubin(source: str, compute_capability: str, macros: Mapping[str, str]) -> bytes:
    """Machine code of CUDA C for one kind of GPU, compiled once in a process.

    Args:
        source: Without includes.
        compute_capability: Such as `8.7`.
        macros: Values by name.

    Raises:
        MissingDependency: The compiler, or its Python package, is not installed.
        CudaError: It refuses the source.
    """
    return _compile(source, compute_capability, tuple(f"-D{name}={value}" for name, value in sorted(macros.items())))


@lru_cache(maxsize=32)
def _compile(source: str, compute_capability: str, macros: tuple[str, ...]) -> bytes:
    nvrtc = _nvrtc()
    architecture = f"sm_{compute_capability.replace('.', '')}"
    options = [f"--gpu-architecture={architecture}", "--fmad=false", *macros]
    encoded = [option.encode() for option in options]
    try:
        program = _checked(nvrtc, nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], []))
    except RuntimeError as error:  # The package is there, the compiler is not.
        raise MissingDependency(f"CUDA's compiler can't be loaded: {error}", hint=INSTALL) from error
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        if int(status):
            raise CudaError(f"The kernel can't be compiled for {architecture}: {_log(nvrtc, program)}")
        code = bytes(_checked(nvrtc, nvrtc.nvrtcGetCUBINSize(program)))
        _checked(nvrtc, nvrtc.nvrtcGetCUBIN(program, code))
        return code
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _nvrtc() -> Any:
    for name in ("cuda.bindings.nvrtc", "cuda.nvrtc"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not (error.name and name.startswith(error.name)):
                raise
    raise MissingDependency("There is no Python package for CUDA's compiler.", hint=PACKAGE)


def _checked(nvrtc: Any, result: tuple[Any, ...]) -> Any:
    status, *values = result
    if int(status):
        raise CudaError(f"CUDA's compiler failed: {nvrtc.nvrtcGetErrorString(status)[1].decode()}.")
    return values[0] if values else None


def _log(nvrtc: Any, program: Any) -> str:
    text = bytes(_checked(nvrtc, nvrtc.nvrtcGetProgramLogSize(program)))
    _checked(nvrtc, nvrtc.nvrtcGetProgramLog(program, text))
    return str(text, errors="replace").strip("\0 \n")
