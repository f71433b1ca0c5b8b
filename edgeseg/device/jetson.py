"""NVIDIA Jetson boards, from the files that JetPack puts on them."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["INTEGRATED_GPUS", "jetpack_version", "l4t_version", "power_mode", "power_modes"]

#: System on chip, as the device tree names it, to its GPU's architecture and compute capability.
INTEGRATED_GPUS = {
    "tegra210": ("Maxwell", "5.3"),
    "tegra186": ("Pascal", "6.2"),
    "tegra194": ("Volta", "7.2"),
    "tegra234": ("Ampere", "8.7"),
    "tegra264": ("Blackwell", "11.0"),
}

#: First L4T release of each JetPack, the newest first.
JETPACKS = (
    ((39, 2, 1), "7.2.1"),
    ((39, 0, 0), "7.2"),
    ((38, 4, 0), "7.1"),
    ((38, 0, 0), "7.0"),
    ((36, 4, 3), "6.2"),
    ((36, 4, 0), "6.1"),
    ((36, 0, 0), "6.0"),
    ((35, 2, 0), "5.1"),
    ((35, 0, 0), "5.0"),
    ((34, 0, 0), "5.0"),
    ((32, 6, 0), "4.6"),
)


def l4t_version(root: Path = Path("/")) -> str:
    """Version of Jetson Linux, such as `36.4.3`; empty on other machines."""
    try:
        text = (root / "etc/nv_tegra_release").read_text(errors="replace")
    except OSError:
        return ""
    match = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"{match[1]}.{match[2]}" if match else ""


def jetpack_version(l4t: str) -> str:
    """JetPack that a version of Jetson Linux belongs to; empty where none is known."""
    numbers = (*map(int, re.findall(r"\d+", l4t)), 0, 0, 0)[:3]
    return next((jetpack for first, jetpack in JETPACKS if first[0] == numbers[0] and first <= numbers), "")


def power_mode(root: Path = Path("/")) -> str:
    """Name of the power mode that nvpmodel set last, such as `MAXN_SUPER`; empty where there is none."""
    names = power_modes(root)
    try:
        status = (root / "var/lib/nvpmodel/status").read_text(errors="replace")
    except OSError:
        return ""
    number = re.search(r"pmode:\s*(\d+)", status) if names else None
    return names.get(int(number[1]), f"mode {int(number[1])}") if number else ""


def power_modes(root: Path = Path("/")) -> dict[int, str]:
    """Names of a Jetson's power modes by number, as `nvpmodel -m` takes it."""
    try:
        modes = (root / "etc/nvpmodel.conf").read_text(errors="replace")
    except OSError:
        return {}
    found = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([^\s>]+)", modes)
    return {int(mode): name for mode, name in found}
