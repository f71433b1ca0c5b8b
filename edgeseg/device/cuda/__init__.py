"""CUDA from Python, by whichever binding is installed."""

from __future__ import annotations

from functools import cache

from edgeseg.device.cuda.base import PACKAGE, Cuda, CudaDevice, CudaError
from edgeseg.errors import MissingDependency

__all__ = ["Cuda", "CudaDevice", "CudaError", "open_cuda"]


@cache
def open_cuda() -> Cuda:
    """The first GPU, through cuda-python, or through pycuda where only that is there.

    Raises:
        MissingDependency: No binding is installed, or CUDA finds no GPU or driver.
    """
    from edgeseg.device.cuda.cuda_python import CudaPython
    from edgeseg.device.cuda.through_pycuda import PyCuda

    try:
        for binding in (CudaPython, PyCuda):
            try:
                return binding()
            except ModuleNotFoundError as error:
                if error.name not in binding.packages:
                    raise
    except (CudaError, ImportError, OSError, RuntimeError) as error:
        why = error.message if isinstance(error, CudaError) else str(error)
        raise MissingDependency(
            f"CUDA finds no GPU that it can use: {why}",
            hint=f"It needs an NVIDIA GPU, its driver, and a package that is no newer than that. {PACKAGE}",
        ) from error
    raise MissingDependency("There is no Python package for CUDA.", hint=PACKAGE)
