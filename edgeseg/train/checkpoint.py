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
        step: Batches trained on.
        loss_sum: Sum of the losses of the epoch under way.
        history: Finished epochs.
    """

    frames: int
    step: int = 0
    loss_sum: float = 0.0
    history: list[Epoch] = []

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


def read_checkpoint(path: Path, recipe: TrainRecipe, frames: int) -> tuple[State, dict[str, Any]]:
    """State and tensors of a checkpoint of the same run.

    Raises:
        UsageError: There is none, or it is of another recipe or other data.
        ModelFileError: It is damaged, or was written by another version.
    """
    if not path.is_file():
        raise UsageError(
            f"There is nothing to resume: {path} does not exist.", hint="Leave out --resume to start anew."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        before = msgspec.json.decode(content.pop("recipe"))
        state = msgspec.json.decode(content.pop("state"), type=State)
    except Exception as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ModelFileError(
            f"The checkpoint {path} can't be read: {reason}",
            hint="It is damaged or of another version. Start anew in another folder.",
        ) from error
    now = msgspec.json.decode(msgspec.json.encode(recipe))
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        told = ", ".join(f"{key} was {before.get(key)} and is {now[key]}" for key in changed)
        raise UsageError(
            f"The run in {path.parent} was started with another recipe: {told}.",
            hint="Resume with the same recipe and options, or choose another folder with -o.",
        )
    if state.frames != frames:
        raise UsageError(
            f"The run in {path.parent} was started on {state.frames} training frames; now there are {frames}.",
            hint="Resume with the same data, or choose another folder with -o.",
        )
    return state, content


def write_history(path: Path, history: list[Epoch]) -> None:
    """Write the epochs as JSON, one a line, whole or not at all."""
    write_bytes(path, msgspec.json.Encoder().encode_lines(history))
