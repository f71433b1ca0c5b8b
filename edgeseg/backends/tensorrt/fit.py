"""Whether an engine that was built on one machine runs on another."""

from __future__ import annotations

import re

from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.card import Identity
from edgeseg.device.cuda import open_cuda
from edgeseg.device.jetson import jetpack_version, l4t_version
from edgeseg.errors import MissingDependency

__all__ = ["gpu_kind", "identity_here", "misfit"]


def identity_here(version: str) -> Identity:
    """What this machine's engines are built by, with the library in a version."""
    l4t = l4t_version()
    try:
        device = open_cuda().device
    except MissingDependency:
        return Identity(version=version)
    return Identity(
        version=version,
        gpu=device.name,
        compute_capability=device.compute_capability,
        multiprocessors=device.multiprocessors,
        jetpack=jetpack_version(l4t),
        l4t=l4t,
    )


def misfit(library: str, options: TensorRtOptions, built: Identity, here: Identity) -> str:
    """Why an engine does not run here, a sentence; empty where it does.

    Args:
        library: Its name.
        options: How the engine was built.
        built, here: By what, and what there is now.
    """
    if built.version != here.version and not (options.any_version and _numbers(built) <= _numbers(here)):
        return f"It was built by {library} {built.version}; here is {here.version}, which takes its own alone."
    if built.gpu and here.gpu and not _same_gpu(options, built, here):
        return f"It was built for {_gpu(built)}; this machine has {_gpu(here)}."
    return ""


def gpu_kind(one: Identity) -> tuple[str, str, int]:
    """What GPUs on which the same kernels are the fastest have in common."""
    return one.gpu, one.compute_capability, one.multiprocessors


def _numbers(identity: Identity) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", identity.version))


def _same_gpu(options: TensorRtOptions, built: Identity, here: Identity) -> bool:
    """Whether an engine for one GPU is one for another, as it was built to be."""
    if options.hardware == "ampere-plus":
        return float(here.compute_capability) >= 8
    if options.hardware == "same-compute-capability":
        return built.compute_capability == here.compute_capability
    return gpu_kind(built) == gpu_kind(here)


def _gpu(one: Identity) -> str:
    return f"{one.gpu} (compute capability {one.compute_capability}, {one.multiprocessors} multiprocessors)"
