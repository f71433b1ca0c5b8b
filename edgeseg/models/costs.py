"""Parameters and multiply-adds of every network, counted into `edgeseg/networks.json`, which needs no torch to be read.

`make catalogue`, or `python -m edgeseg.models.costs`, writes that file anew.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgeseg.catalog import BACKBONE_PAPERS, COSTS_FILE, DECODER_PAPERS, Cost, Costs
from edgeseg.errors import UsageError
from edgeseg.files import write_bytes
from edgeseg.models.registry import create_model, list_models

__all__ = ["count_network", "write_costs"]

NUM_CLASSES = 19
SIZE_HW = (360, 640)


def count_network(name: str, *, num_classes: int = NUM_CLASSES, size_hw: tuple[int, int] = SIZE_HW) -> Cost:
    """What a network without options costs. Nothing is computed but shapes.

    Args:
        name: One of `list_models()`.
        num_classes: Channels of the logits.
        size_hw: Height and width of the one frame.

    Raises:
        UsageError: There is no such network.
    """
    with torch.device("meta"):
        net = create_model(name, num_classes=num_classes)
        frame = torch.empty(1, 3, *size_hw)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(frame)
    # Torch counts a multiplication and an addition as two.
    return Cost(parameters=sum(values.numel() for values in net.parameters()), macs=counter.get_total_flops() // 2)


def write_costs(path: Path = COSTS_FILE) -> None:
    """Count all networks and write what they cost into a file, sorted by name.

    Raises:
        UsageError: A decoder or a backbone has no paper yet, so that the catalogue could not show its networks.
    """
    names = list_models()
    for name in names:
        decoder, _, backbone = name.partition("-")
        if decoder not in DECODER_PAPERS or backbone not in BACKBONE_PAPERS:
            raise UsageError(
                f"A part of '{name}' has no paper.",
                hint="Name it in edgeseg/catalog.py: DECODER_PAPERS, BACKBONE_PAPERS.",
            )
    costs = Costs(NUM_CLASSES, SIZE_HW, {name: count_network(name) for name in names})
    write_bytes(path, msgspec.json.format(msgspec.json.encode(costs), indent=2) + b"\n")


if __name__ == "__main__":
    write_costs()
