"""Several training processes under torchrun."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from edgeseg.errors import UsageError

__all__ = ["Ranks"]


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
        """Leave the group."""
        if self.count > 1 and distributed.is_initialized():
            distributed.destroy_process_group()
