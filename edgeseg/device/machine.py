"""What this machine is."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import msgspec

from edgeseg.device.cpu import cpu_features, cpu_model, governors, usable_cores
from edgeseg.device.jetson import INTEGRATED_GPUS, jetpack_version, l4t_version, power_mode
from edgeseg.device.nvidia import Gpu, list_gpus

__all__ = ["Device", "describe_device"]

#: Instruction sets that engines have kernels for, as /proc/cpuinfo names them.
FEATURES = (
    *("avx2", "fma", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve"),
)


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A machine, as far as it matters to engines. A text is empty, a number 0, where the machine does not tell.

    Attributes:
        board: From the device tree; empty on PCs and servers.
        soc: System on chip by the device tree's name, such as `tegra234` or `bcm2712`.
        arch: As `uname -m`.
        cpu: Name of the CPU.
        cores: Physical ones that this process may use.
        cpu_features: Those of `FEATURES` that all cores have.
        governor: Of the cores' clocks, such as `performance`; where they differ, as `performance, schedutil`.
        power_mode: Of a Jetson.
        memory_bytes, memory_available_bytes: Of the machine; the second without swapping.
        swap_free_bytes: Room to swap to.
        gpus: NVIDIA's, discrete and integrated.
        jetpack, l4t: Of a Jetson.
    """

    board: str
    soc: str
    arch: str
    cpu: str
    cores: int
    cpu_features: tuple[str, ...]
    governor: str
    power_mode: str
    memory_bytes: int
    memory_available_bytes: int
    swap_free_bytes: int = 0
    gpus: tuple[Gpu, ...]
    jetpack: str
    l4t: str
    os: str
    kernel: str
    python: str


def describe_device(root: Path = Path("/"), *, nvidia_smi: str = "nvidia-smi") -> Device:
    """What this machine is. Reads files and asks the GPU driver's tool; changes nothing, never raises.

    Args:
        root: Folder that holds `proc`, `sys`, `etc` and `var`.
        nvidia_smi: The driver's tool, a name or a path.
    """
    cpuinfo = root / "proc/cpuinfo"
    features = cpu_features(cpuinfo)
    soc = _soc(root)
    l4t = l4t_version(root)
    memory = _memory(root)
    return Device(
        board=_device_tree(root, "model"),
        soc=soc,
        arch=platform.machine(),
        cpu=cpu_model(cpuinfo),
        cores=usable_cores(),
        cpu_features=tuple(name for name in FEATURES if name in features),
        governor=governors(root),
        power_mode=power_mode(root),
        memory_bytes=memory.get("MemTotal", 0),
        memory_available_bytes=memory.get("MemAvailable", 0),
        swap_free_bytes=memory.get("SwapFree", 0),
        gpus=_integrated_gpu(soc) or list_gpus(nvidia_smi),
        jetpack=jetpack_version(l4t),
        l4t=l4t,
        os=_os_name(root),
        kernel=platform.release(),
        python=platform.python_version(),
    )


def _read(path: Path) -> str:
    """The text of a small file, without the zero byte that ends device-tree strings; empty where there is none."""
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""


def _device_tree(root: Path, name: str) -> str:
    """A property of the device tree's root; in a container that of the host, from where it is to be mounted."""
    return _read(root / "proc/device-tree" / name) or _read(root / f"tmp/nv_jetson_{name}")


def _soc(root: Path) -> str:
    """The chip's name: the last word of `compatible`, which goes from the board to the chip's family."""
    names = [name.partition(",")[2] for name in _device_tree(root, "compatible").split("\0")]
    return next((name for name in names if name in INTEGRATED_GPUS), names[-1])


def _integrated_gpu(soc: str) -> tuple[Gpu, ...]:
    if soc not in INTEGRATED_GPUS:
        return ()
    architecture, capability = INTEGRATED_GPUS[soc]
    return (Gpu(f"{soc} ({architecture}, integrated)", "", 0, capability),)


def _memory(root: Path) -> dict[str, int]:
    rows = re.findall(r"^(\w+):\s+(\d+) kB$", _read(root / "proc/meminfo"), re.MULTILINE)
    return {name: int(kibibytes) << 10 for name, kibibytes in rows}


def _os_name(root: Path) -> str:
    match = re.search(r'^PRETTY_NAME="?(.*?)"?$', _read(root / "etc/os-release"), re.MULTILINE)
    return match[1] if match else platform.system()
