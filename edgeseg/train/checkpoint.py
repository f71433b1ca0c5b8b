"""Checkpoints: all that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import torch

from edgeseg.errors import ModelFileError, UsageError
from edgeseg.files import write_bytes
from edgeseg.train.recipe import TrainRecipe

__all__ = ["Epoch", "State", "read_checkpoint", "write_checkpoint", "write_history"]


class Epoch(msgspec.Struct, frozen=True):
    """What one epoch came to.

    Attributes:
        epoch: Counted from 1.
        loss: Mean training loss.
        miou: On the validation frames, 0 to 1; None for an epoch that was not validated.
        class_iou: By name, 0 to 1; None for a class that neither labels nor predictions hold.
    """

    epoch: int
    loss: float
    miou: float | None
    class_iou: dict[str, float | None]


class State(msgspec.Struct):
    """How far a run is.

    Attributes:
        frames: Training frames, so that a changed data set is noticed.
        ranks: Processes that share a batch.
        made_from: Hash of the teacher's weights and of those that the run began with, where these are files.
        step: Batches trained on.
        loss_sum: Sum of the losses of the epoch under way.
        history: Finished epochs.
        seconds: That all starts together took, as far as they were saved.
    """

    frames: int
    ranks: int = 1
    made_from: dict[str, str] = {}
    step: int = 0
    loss_sum: float = 0.0
    history: list[Epoch] = []
    seconds: float = 0.0

    @property
    def best(self) -> Epoch | None:
        """The first of the epochs with the highest mIoU, None before any is validated."""
        return max(self.validated, key=lambda epoch: epoch.miou or 0.0, default=None)

    @property
    def validated(self) -> list[Epoch]:
        """The epochs that have an mIoU."""
        return [epoch for epoch in self.history if epoch.miou is not None]


def write_checkpoint(path: Path, recipe: TrainRecipe, state: State, tensors: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OSError: It could not be written; the older one at `path` is unchanged.
    """
    content = io.BytesIO()
    texts = {"recipe": msgspec.json.encode(recipe).decode(), "state": msgspec.json.encode(state).decode()}
    torch.save({**texts, **tensors}, content)
    write_bytes(path, content.getvalue())


def read_checkpoint(path: Path, recipe: TrainRecipe, fresh: State) -> tuple[State, dict[str, Any]]:
    """State and tensors of a checkpoint of the same run.

    Args:
        path: The checkpoint.
        recipe: Of the run that is to go on.
        fresh: What that run would begin with.

    Raises:
        UsageError: There is none, or it is of another recipe, other data, other weights or another count of processes.
        ModelFileError: It is damaged, or was written by another version.
    """
    if not path.is_file():
        raise UsageError(
            f"There is nothing to resume: {path} does not exist.", hint="Leave out --resume to start anew."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        before = msgspec.json.decode(content.pop("recipe"), type=TrainRecipe)
        state = msgspec.json.decode(content.pop("state"), type=State)
    except Exception as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ModelFileError(
            f"The checkpoint {path} can't be read: {reason}",
            hint="It is damaged or of another version. Start anew in another folder.",
        ) from error
    was, now = (
        {**_leaves(msgspec.to_builtins(made)), **_origin(begun)} for made, begun in ((before, state), (recipe, fresh))
    )
    changed = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    if changed:
        told = ", ".join(f"{key} was {was.get(key)} and is {now.get(key)}" for key in changed)
        raise UsageError(
            f"The run in {path.parent} was started otherwise: {told}.",
            hint="Resume with the same recipe, options and data, or choose another folder with -o.",
        )
    return state, content


def _origin(state: State) -> dict[str, Any]:
    """What a run begins with, beyond its recipe, in words."""
    hashes = {f"the hash of {name}": value for name, value in state.made_from.items()}
    return {"the number of training frames": state.frames, "the number of processes": state.ranks, **hashes}


def _leaves(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    leaves: dict[str, Any] = {}
    for key, value in table.items():
        leaves |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return leaves


def write_history(path: Path, history: list[Epoch]) -> None:
    """Write the epochs as JSON, one a line, whole or not at all."""
    write_bytes(path, msgspec.json.Encoder().encode_lines(history))
