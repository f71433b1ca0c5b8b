"""Where training runs: its device, and its processes under torchrun."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from edgeseg.errors import MissingDependency, UsageError

__all__ = ["Ranks", "open_device"]


def open_device(name: str) -> torch.device:
    """The torch device of that name; `cuda` is this process's GPU, the first where it is alone, `auto` that or the CPU.

    Raises:
        UsageError: No such kind of device is supported.
        MissingDependency: This machine has no such device, or this torch can't use it.
    """
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    elif name == "auto":
        name = "cpu"
    if re.fullmatch(r"cpu|cuda(:\d+)?", name) is None:
        raise UsageError(f"There is no device '{name}'.", hint="Possible: auto, cpu, cuda, cuda:1.")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise MissingDependency(
            f"Device '{name}' can't be used: {str(error).splitlines()[0]}",
            hint="Train with --device cpu, or install the driver and a torch that is built for it.",
        ) from error
    return torch.device(name)


class Ranks:
    """This process among those that train together; alone where torchrun did not start it.

    Attributes:
        rank: 0 for the process that validates, writes and reports.
        count: How many processes there are.
    """

    def __init__(self, device: torch.device, batch: int) -> None:
        self.rank, self.count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if self.count > 1 and (batch % self.count or batch < 2 * self.count):
            raise UsageError(
                f"A batch of {batch} can't be shared by {self.count} processes.",
                hint=f"Choose a --batch that is a multiple of {self.count}, of {2 * self.count} at least.",
            )
        if self.count > 1 and not distributed.is_initialized():
            # Numbers of the loop are on the CPU, gradients where the network is.
            distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        """Whether this process is the one that validates, writes and reports."""
        return self.rank == 0

    def share(self, objective: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
        """The objective, its gradients averaged over the processes."""
        return DistributedDataParallel(objective) if self.count > 1 else objective

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process; all must ask at the same place."""
        return self.mean(torch.tensor(float(flag))) > 0

    def mean(self, value: Tensor) -> float:
        """The mean of a number over the processes; all must ask at the same place."""
        if self.count > 1:
            value = value.detach().clone()
            distributed.all_reduce(value)
        return value.item() / self.count

    def close(self) -> None:
        """Leave the group, whose threads end with the last that refers to it."""
        if self.count > 1 and distributed.is_initialized():
            # What `share` gave refers to the group and to itself. Threads that Python ends before abort the process.
            gc.collect()
            distributed.destroy_process_group()
