"""Checks of boards and GPUs: what a build or a camera would stumble over, and the command that mends it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator
from importlib import metadata, util
from pathlib import Path

from edgeseg.device import Device
from edgeseg.device.cuda import open_cuda
from edgeseg.device.jetson import power_modes
from edgeseg.doctor.cameras import examine_cameras
from edgeseg.doctor.check import Check
from edgeseg.errors import MissingDependency

__all__ = [
    "check_bindings",
    "check_build_memory",
    "check_clocks",
    "check_cuda",
    "check_heat",
    "check_numpy_for_opencv",
    "check_pip_tensorrt",
    "check_power",
    "examine_board",
]

GIB = 1 << 30
#: Folders of the clocks of Jetsons' GPUs.
GPU_CLOCK = re.compile(r"\.(gpu|gp10b|gv11b|ga10b)$|gpu-gpc")
#: The first Python that edgeseg runs on.
OLDEST_PYTHON = (3, 10)
#: Memory and swap below which building an engine on a board is likely to be killed.
BUILD_BYTES = 3 * GIB
#: Degrees Celsius from which on boards slow their clocks, with a little to spare.
HOT = 85
#: The last Jetson Linux whose boards pip's TensorRT does not serve.
LAST_WITHOUT_PIP = 36
#: pip's packages that hold TensorRT's libraries, built for the GPUs of PCs and servers.
PIP_LIBRARIES = ("tensorrt-libs", "tensorrt-cu11-libs", "tensorrt-cu12-libs", "tensorrt-cu13-libs")
SWAP = "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"


def examine_board(device: Device, root: Path = Path("/")) -> Iterator[Check]:
    """All that is worth a look on this machine: of a PC without a GPU, what its cameras need."""
    if device.l4t:
        yield check_bindings(root)
        yield from check_pip_tensorrt(device, _pip_libraries())
        yield check_build_memory(device)
        yield check_power(device, root)
        yield check_clocks(root)
    if device.gpus:
        yield check_cuda()
    if device.board:
        yield from check_heat(root)
    yield from check_numpy_for_opencv(*_opencv_and_numpy())
    yield from examine_cameras(device, root)


def check_bindings(root: Path = Path("/"), python: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Whether JetPack's TensorRT is there for this Python, and seen by this environment."""
    title, wanted = "tensorrt of jetpack", f"{python[0]}.{python[1]}"
    spec = util.find_spec("tensorrt")
    if spec is not None and spec.origin is not None:
        return Check(title, "ok", f"{spec.origin}, for Python {wanted}")
    found = [path.parts[-3] for path in root.glob("usr/lib/python3*/dist-packages/tensorrt")]
    versions = sorted((name.removeprefix("python") for name in found), key=_numbers)
    if wanted in versions:
        fix = f"python{wanted} -m venv --system-site-packages VENV, and install edgeseg there"
        return Check(title, "fails", f"it is installed for Python {wanted}, and this environment does not see it", fix)
    if versions and _numbers(versions[-1]) < OLDEST_PYTHON:
        fix = "Quantize on a PC and build with trtexec, whose line is printed: edgeseg quantize --calibration-cache"
        return Check(title, "fails", f"it is there for Python {', '.join(versions)}, which is too old", fix)
    if versions:
        fix = f"python{versions[-1]} -m venv --system-site-packages VENV, and install edgeseg there"
        return Check(title, "fails", f"it is there for Python {', '.join(versions)}, and this is {wanted}", fix)
    return Check(title, "missing", "JetPack's bindings are not installed", "sudo apt install python3-libnvinfer")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def check_pip_tensorrt(device: Device, installed: Collection[str]) -> Iterator[Check]:
    """TensorRT from pip on a Jetson with JetPack 6 or before: it has no kernels for the board's GPU."""
    if installed and device.l4t and _numbers(device.l4t)[0] <= LAST_WITHOUT_PIP:
        gpu = device.gpus[0].compute_capability.replace(".", "") if device.gpus else "?"
        names = " ".join(sorted(installed))
        yield Check(
            "tensorrt from pip",
            "fails",
            f"{names} is for PCs and servers, and has no kernels for this board's GPU (sm_{gpu})",
            f"pip uninstall {names}, and take JetPack's: sudo apt install python3-libnvinfer",
        )


def check_build_memory(device: Device) -> Check:
    """Whether a build on a board whose GPU shares the memory is likely to come to its end."""
    free = device.memory_available_bytes + device.swap_free_bytes
    found = f"{free / GIB:.1f} GiB with swap, {BUILD_BYTES / GIB:.0f} are needed to build"
    if free < BUILD_BYTES:
        return Check("memory to build", "warning", found, f"Close the desktop (sudo init 3), or add swap: {SWAP}")
    return Check("memory to build", "ok", found)


def check_power(device: Device, root: Path = Path("/")) -> Check:
    """Whether the board runs as fast as it can, without which its figures are those of a slower one."""
    modes = power_modes(root)
    unlimited = (number for number, name in modes.items() if name.startswith("MAXN"))
    fastest = min(unlimited, key=lambda number: modes[number] != "MAXN_SUPER", default=None)
    found = ", ".join(filter(None, (device.power_mode or "unknown mode", device.governor)))
    if fastest is not None and device.power_mode != modes[fastest]:
        fix = f"sudo nvpmodel -m {fastest} && sudo jetson_clocks"
        return Check("power mode", "warning", f"{found}: {modes[fastest]} is faster", fix)
    return Check("power mode", "ok", found)


def check_clocks(root: Path = Path("/")) -> Check:
    """Whether clocks stand still, without which figures depend on what ran before."""
    ranges = {}
    for name, folder, unit in _clocks(root):
        try:
            ends = [int(_read(next(folder.glob(f"*{end}_freq")))) // unit for end in ("min", "max")]
        except (OSError, ValueError, StopIteration):
            continue
        ranges[name] = ends
    told = ", ".join(f"{name} {low} to {high} MHz" for name, (low, high) in ranges.items())
    if any(low != high for low, high in ranges.values()):
        return Check("clocks", "warning", f"{told}: they follow the load", "sudo jetson_clocks")
    return Check("clocks", "ok", told or "not told")


def _clocks(root: Path) -> Iterator[tuple[str, Path, int]]:
    """Name of a clock, the folder with its files `..._min_freq` and `..._max_freq`, and what a MHz is in them."""
    yield "processor", root / "sys/devices/system/cpu/cpu0/cpufreq", 1000
    for folder in sorted(root.glob("sys/class/devfreq/*")):
        if GPU_CLOCK.search(folder.name):
            yield "GPU", folder, 1_000_000


def check_heat(root: Path = Path("/")) -> Iterator[Check]:
    """The hottest part of a board; none where nothing is told."""
    degrees = {}
    for zone in root.glob("sys/class/thermal/thermal_zone*"):
        try:
            degrees[_read(zone / "type")] = int(_read(zone / "temp")) / 1000
        except (OSError, ValueError):
            """That of an accelerator which the board has not, or which sleeps."""
    if degrees:
        name, hottest = max(degrees.items(), key=lambda item: item[1])
        found = f"{hottest:.0f} °C, {name}"
        hot = hottest >= HOT
        fix = "Give it a fan or a larger heat sink: its clocks are slowed." if hot else ""
        yield Check("temperature", "warning" if hot else "ok", found, fix)


def _read(path: Path) -> str:
    """A small file in one call: of a zone that is off, the kernel says "try again" for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(handle, 256).decode(errors="replace").strip()
    finally:
        os.close(handle)


def check_cuda() -> Check:
    """Whether CUDA can be used from this Python."""
    try:
        cuda = open_cuda()
    except MissingDependency as error:
        return Check("cuda", "missing", error.message, error.hint)
    free = cuda.free_bytes() / GIB
    device = cuda.device
    return Check("cuda", "ok", f"{device.name}, sm_{device.compute_capability}, {free:.1f} GiB free, {cuda.binding}")


def check_numpy_for_opencv(opencv: str, numpy: str) -> Iterator[Check]:
    """The system's OpenCV with a numpy that it was not built for.

    Args:
        opencv: Path of the module `cv2`, empty where there is none.
        numpy: Version.
    """
    if re.match(r"/usr/(local/)?lib/", opencv) and "dist-packages" in opencv and int(numpy.split(".")[0]) >= 2:
        yield Check(
            "numpy for opencv",
            "fails",
            f"the system's OpenCV was built for numpy 1, and this is {numpy}",
            "pip install 'numpy<2'",
        )


def _pip_libraries() -> list[str]:
    """Those of TensorRT's libraries that pip installed."""
    found = []
    for name in PIP_LIBRARIES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def _opencv_and_numpy() -> tuple[str, str]:
    spec = util.find_spec("cv2")
    return (spec.origin or "") if spec is not None else "", metadata.version("numpy")
