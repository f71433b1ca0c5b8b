"""What this machine is: board, processor, accelerator, clocks, power. Read-only."""

from __future__ import annotations

from edgeseg.device.machine import Device, describe_device
from edgeseg.device.nvidia import Gpu

__all__ = ["Device", "Gpu", "describe_device"]
