"""Checks of the machine itself."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from edgeseg.device import Device
from edgeseg.device.cpu import VNNI
from edgeseg.doctor.check import Check

__all__ = ["check_folder", "check_int8", "check_machine", "check_memory"]

GIB = 1 << 30


def check_machine(device: Device) -> Check:
    """What the machine is; a JetPack with a Python older than edgeseg's is a warning."""
    words = [device.board, device.cpu, device.arch, f"{device.cores} cores", *(gpu.name for gpu in device.gpus)]
    words += [f"JetPack {device.jetpack} (L4T {device.l4t})"] if device.l4t else []
    words += [f"power mode {device.power_mode}"] if device.power_mode else []
    words += [f"governor {device.governor}"] if device.governor else []
    found = ", ".join(word for word in [*words, device.os, f"Python {device.python}"] if word)
    if device.jetpack and int(device.jetpack.partition(".")[0]) < 6:
        return Check("machine", "warning", found, "Boards need JetPack 6 or later: its Python is 3.10.")
    return Check("machine", "ok", found)


def check_int8(device: Device) -> Check:
    """Whether the CPU has instructions for INT8, and which dialect follows where it has not."""
    features = ", ".join(device.cpu_features) or "no feature that is known"
    if device.arch in ("x86_64", "AMD64") and not VNNI.intersection(device.cpu_features):
        found = f"{features}: no VNNI, so INT8 engines get 7-bit weights (dialect u8-asym-reduced)"
        return Check("int8 on the cpu", "warning", found)
    if device.arch == "aarch64" and "asimddp" not in device.cpu_features:
        return Check("int8 on the cpu", "warning", f"{features}: no dot products, so INT8 may be no faster than float")
    return Check("int8 on the cpu", "ok", features)


def check_memory(device: Device) -> Check:
    """Whether enough memory is free for a build."""
    found = f"{device.memory_available_bytes / GIB:.1f} of {device.memory_bytes / GIB:.1f} GiB available"
    if device.memory_available_bytes < GIB:
        return Check(
            "memory", "warning", found, "Close other programs before edgeseg build, or choose a smaller --imgsz."
        )
    return Check("memory", "ok", found)


def check_folder(name: str, folder: Path) -> Check:
    """Whether files can be written to a folder, which need not exist yet, and how much space is left there."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        return Check(
            name, "warning", f"{folder} can't be written to: {error.strerror}", "Write elsewhere: edgeseg build -o DIR"
        )
    found = f"{folder}, {free / GIB:.1f} GiB free"
    if free < GIB:
        return Check(name, "warning", found, "Free some space, or write elsewhere: edgeseg build -o DIR")
    return Check(name, "ok", found)
