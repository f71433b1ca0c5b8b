"""What kernels need of CUDA's driver API: machine code of this processor, called with the arguments of a launch."""

from __future__ import annotations

import ctypes
import tempfile
from typing import Any

from cuda.bindings.runtime import CALLS, LIVE, OK, give

_functions: list[Any] = []


def cuModuleLoadData(code: bytes) -> tuple[Any, ...]:
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(code)
        file.flush()
        LIVE["module"] += 1
        return OK, ctypes.CDLL(file.name)


def cuModuleUnload(module: ctypes.CDLL) -> tuple[Any, ...]:
    LIVE["module"] -= 1
    return (OK,)


def cuModuleGetFunction(module: ctypes.CDLL, name: bytes) -> tuple[Any, ...]:
    _functions.append(getattr(module, name.decode()))
    return OK, len(_functions) - 1


def cuLaunchKernel(function: int, *rest: Any) -> tuple[Any, ...]:
    *_, stream, (values, types), _ = rest
    CALLS.append("cuLaunchKernel")
    kernel = _functions[function]
    kernel.argtypes = types
    give(stream, lambda: kernel(*values) and None)
    return (OK,)
