"""Which build recipe goes with a machine."""

from __future__ import annotations

import re
from importlib import util

from edgeseg.device import Device

__all__ = ["board_recipe"]

#: What a board's name in the device tree says, and the recipe in engines/.
BOARDS = (
    (r"Orin Nano", "jetson-orin-nano"),
    (r"Orin NX", "jetson-orin-nx"),
    (r"AGX Orin", "jetson-agx-orin"),
    (r"Thor", "jetson-thor"),
    (r"Raspberry Pi", "raspberry-pi"),
)
#: Modules that a library for PCs with an NVIDIA GPU is imported as, and the recipe, the first that is installed.
PC = (("tensorrt", "x86-dgpu"), ("tensorrt_rtx", "rtx"), ("tensorrt_rtx_bindings", "rtx"))


def board_recipe(device: Device) -> str:
    """Name of the shipped recipe for a machine; empty where any backend may be the best.

    JetPack's own nvidia-smi names a Jetson's GPU with "(nvgpu)" at the end, which tells no board.
    """
    for pattern, recipe in BOARDS:
        if re.search(pattern, device.board):
            return recipe
    if any(gpu.driver and not gpu.name.endswith("(nvgpu)") for gpu in device.gpus):
        return next((recipe for module, recipe in PC if _installed(module)), "")
    return ""


def _installed(module: str) -> bool:
    spec = util.find_spec(module)
    return spec is not None and spec.origin is not None
