"""The processor: its features, its name, its governors, and the cores that this process may use."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

from edgeseg.errors import UsageError

__all__ = [
    "VNNI",
    "cpu_features",
    "cpu_model",
    "governors",
    "inference_device",
    "inference_threads",
    "int8_saturates",
    "usable_cores",
]

#: Features by which an x86 processor sums u8 x s8 products in 32 bits.
VNNI = frozenset({"avx512_vnni", "avx_vnni"})
CPUINFO = Path("/proc/cpuinfo")
CGROUPS = Path("/sys/fs/cgroup")


def cpu_features(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Features that all cores have, named as in /proc/cpuinfo (`avx512_vnni`, `asimddp`); empty where unknown."""
    cores = [frozenset(value.split()) for key, value in _entries(cpuinfo) if key in ("flags", "Features")]
    return frozenset.intersection(*cores) if cores else frozenset()


def cpu_model(cpuinfo: Path = CPUINFO) -> str:
    """Name of the processor. ARM cores have numbers instead: `aarch64 0x41/0xd42` (who made it, and which part)."""
    entries = dict(_entries(cpuinfo))
    if "model name" in entries:
        return entries["model name"]
    numbers = "/".join(entries[key] for key in ("CPU implementer", "CPU part") if key in entries)
    return f"{platform.machine()} {numbers}".rstrip()


def int8_saturates() -> bool:
    """Whether sums of u8 x s8 products may saturate at 16 bits: on x86 without VNNI they do."""
    return platform.machine() in ("x86_64", "AMD64") and not cpu_features() & VNNI


def usable_cores() -> int:
    """Physical cores that this process may run on: two threads of one core count once, a container's quota limits."""
    cores = {_siblings(cpu) for cpu in os.sched_getaffinity(0)}
    return max(1, math.ceil(min(len(cores), _quota())))


def inference_threads() -> int:
    """Threads that an engine should use: `EDGESEG_THREADS`, else one per usable core.

    Raises:
        UsageError: EDGESEG_THREADS is no positive number.
    """
    text = os.environ.get("EDGESEG_THREADS", "")
    if not text:
        return usable_cores()
    if not (text.isdecimal() and int(text) > 0):
        raise UsageError(f"EDGESEG_THREADS is '{text}'; a number of threads from 1 is needed.", hint="Or unset it.")
    return int(text)


def inference_device() -> str:
    """What engines run on here, as measurements name it: the processor, and the threads that an engine uses."""
    return f"{cpu_model()}, {inference_threads()} threads"


def governors(root: Path = Path("/")) -> str:
    """Governors of the cores' clocks, each once, such as `performance, schedutil`; empty where there are none."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({_text(file).strip() for file in files} - {""}))


def _entries(cpuinfo: Path) -> list[tuple[str, str]]:
    lines = (line.partition(":") for line in _text(cpuinfo).splitlines())
    return [(key.strip(), value.strip()) for key, _, value in lines]


def _siblings(cpu: int) -> str:
    """The logical CPUs that share a core with this one, as the kernel writes them."""
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    return _text(topology / "core_cpus_list") or _text(topology / "thread_siblings_list") or str(cpu)


def _quota() -> float:
    """CPUs' worth of time that the control groups above this process allow; infinite without a limit."""
    own = CGROUPS / _text(Path("/proc/self/cgroup")).rpartition("::")[2].strip().lstrip("/")
    limits = [_text(group / "cpu.max").split() for group in (own, *own.parents)]
    return min((int(limit[0]) / int(limit[1]) for limit in limits if limit and limit[0] != "max"), default=math.inf)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
