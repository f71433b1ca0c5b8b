"""The training loop."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgeseg.data.labelled import LabelledFrames
from edgeseg.errors import EdgesegError, MissingDependency, UsageError
from edgeseg.evaluate import ConfusionMatrix
from edgeseg.labels import label_set
from edgeseg.models import create_model, save_weights
from edgeseg.models.decoders import Segmenter
from edgeseg.train.batches import class_frequency, normalize, split_frames, training_batches
from edgeseg.train.checkpoint import Epoch, State, read_checkpoint, write_checkpoint, write_history
from edgeseg.train.objective import Objective
from edgeseg.train.precision import keep_depthwise_in_float
from edgeseg.train.pretrained import inherit_imagenet, load_checkpoint, load_imagenet
from edgeseg.train.ranks import Ranks
from edgeseg.train.recipe import TrainRecipe

__all__ = ["Progress", "TrainResult", "evaluate_network", "open_device", "train"]


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step. `loss` is that of the step, `last` and `best` are finished epochs."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    last: Epoch | None
    best: Epoch | None


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind.

    Attributes:
        weights: Those of the epoch `kept`.
        best: The epoch with the highest mIoU.
        interrupted: Such runs go on with `resume`.
    """

    weights: Path
    checkpoint: Path
    best: Epoch | None
    kept: Epoch | None
    epochs_done: int
    interrupted: bool


def train(
    recipe: TrainRecipe,
    out: Path,
    *,
    device: str = "cpu",
    workers: int = 0,
    resume: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train a network by a recipe; the best weights on the validation frames land in `out`.

    On a CPU the same recipe gives the same weights, bit by bit, also when a run was stopped and resumed.

    Args:
        recipe: All that the result depends on.
        out: Gets `best.safetensors` and `history.jsonl` after each epoch, and `last.ckpt` then and when stopped.
        device: A torch device: `cpu`, `cuda`, `cuda:1`, or `auto` for the GPU of this process, where there is one.
        workers: Processes that augment; 0 does it in this one. The batches are the same.
        resume: Go on from `out/last.ckpt`, at the very batch where it stopped.
        on_progress: Called after every step.
        stop: Asked after every step and every epoch; True saves a checkpoint and ends the run.

    Raises:
        UsageError: Data, model or recipe do not fit, there is nothing to resume, or `out` holds another run.
        MissingDependency: The device is not there, or the package of the ImageNet weights.
        EdgesegError: The loss is no longer a number.
    """
    run = _Run(recipe, out, open_device(device), resume)
    try:
        return run.loop(workers, on_progress, stop)
    finally:
        run.ranks.close()


def open_device(name: str) -> torch.device:
    """The torch device of that name; `auto` is this process's GPU, the first where it is alone, or the CPU.

    Raises:
        UsageError: No such kind of device is supported.
        MissingDependency: This machine has no such device, or this torch can't use it.
    """
    if name == "auto":
        return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu")
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


class _Run:
    def __init__(self, recipe: TrainRecipe, out: Path, device: torch.device, resume: bool) -> None:
        self.recipe, self.out, self.device, self.ranks = recipe, out, device, Ranks(device, recipe.batch)
        self.training, self.validation = split_frames(recipe)
        self.steps = len(self.training) // recipe.batch
        self.state = State(len(self.training))
        self.net = _network(recipe, fresh=not resume)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.objective = Objective(self.net, recipe, self._class_weights()).to_device(device)
        average = get_ema_multi_avg_fn(recipe.optimizer.ema)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(self.net, multi_avg_fn=average, use_buffers=True)
        if recipe.precision == "bf16" and device.type == "cpu":
            keep_depthwise_in_float(self.net)
        self.rates = (recipe.optimizer.backbone_rate, recipe.optimizer.rate)
        parts = self.objective.parameter_groups()
        groups = [{"params": part, "lr": rate} for part, rate in zip(parts, self.rates, strict=True)]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=recipe.optimizer.weight_decay)
        if resume:
            self._load()
        elif self._checkpoint.exists():
            raise UsageError(
                f"{out} holds a run already.", hint="Go on with it by --resume, or choose another folder with -o."
            )
        self.loss = self.ranks.share(self.objective)

    @property
    def _checkpoint(self) -> Path:
        return self.out / "last.ckpt"

    def loop(self, workers: int, on_progress: Callable[[Progress], None], stop: Callable[[], bool]) -> TrainResult:
        recipe, state, ranks = self.recipe, self.state, self.ranks
        batches = training_batches(
            recipe, self.training, first=state.step, workers=workers, rank=ranks.rank, ranks=ranks.count
        )
        while (done := len(state.history)) < recipe.epochs:
            while state.step < (done + 1) * self.steps:
                loss = self._train_step(*next(batches))
                place = (state.step, recipe.epochs * self.steps, done + 1, recipe.epochs)
                on_progress(Progress(*place, loss, next(reversed(state.validated), None), state.best))
                if ranks.any(stop()):
                    return self._result(interrupted=True)
            self._finish_epoch(done + 1)
            if ranks.any(stop()) and done + 1 < recipe.epochs:
                return self._result(interrupted=True)
        return self._result(interrupted=False)

    def _train_step(self, frames: Tensor, masks: Tensor) -> float:
        settings, state = self.recipe.optimizer, self.state
        factor = settings.factor(state.step, self.recipe.epochs * self.steps)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.objective.train()
        loss = self.loss(normalize(frames.to(self.device)), masks.to(self.device, torch.int64))
        if not math.isfinite(value := self.ranks.mean(loss)):
            raise EdgesegError(f"The loss is {value} at step {state.step + 1}.", hint=self._after_divergence())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if settings.ema:
            self.averaged.update_parameters(self.net)
        state.step += 1
        state.loss_sum += value
        return value

    def _after_divergence(self) -> str:
        good = f" The last good checkpoint, of epoch {len(self.state.history)}, is kept." if self.state.history else ""
        return f"Lower the rates, or raise warm_up, in the recipe.{good}"

    def _finish_epoch(self, number: int) -> None:
        """Validate where it is time, keep the weights that the recipe asks for, write history and checkpoint."""
        state, before, matrix = self.state, self.state.best, None
        loss, miou, class_iou = state.loss_sum / self.steps, None, {}
        if self.ranks.first and (number % self.recipe.validate_every == 0 or number == self.recipe.epochs):
            net = self.averaged.module if self.recipe.optimizer.ema else self.net
            matrix = evaluate_network(net, self.validation, self.device)
            if math.isnan(miou := matrix.miou()):
                raise UsageError("The validation frames have no labelled pixel; all are void.")
            names, ious = label_set(self.recipe.classes).names, matrix.class_iou().tolist()
            class_iou = {name: None if math.isnan(iou) else iou for name, iou in zip(names, ious, strict=True)}
            if self.recipe.keep == "last" or before is None or miou > (before.miou or 0.0):
                save_weights(net, self.out / "best.safetensors", {"recipe": msgspec.json.encode(self.recipe).decode()})
        state.history, state.loss_sum = [*state.history, Epoch(number, loss, miou, class_iou)], 0.0
        if self.ranks.first:
            write_history(self.out / "history.jsonl", state.history)
            self._save()

    def _class_weights(self) -> Tensor | None:
        offset = self.recipe.loss.class_weight_offset
        if not offset:
            return None
        weights = 1 / np.log(offset + class_frequency(self.training))
        return torch.from_numpy(weights.astype(np.float32))

    def _save(self) -> None:
        parts: dict[str, Any] = {"objective": self.objective, "averaged": self.averaged, "optimizer": self.optimizer}
        tensors = {name: part.state_dict() for name, part in parts.items()}
        write_checkpoint(self._checkpoint, self.recipe, self.state, tensors)

    def _load(self) -> None:
        self.state, tensors = read_checkpoint(self._checkpoint, self.recipe, len(self.training))
        self.objective.load_state_dict(tensors["objective"])
        self.averaged.load_state_dict(tensors["averaged"])
        self.optimizer.load_state_dict(tensors["optimizer"])

    def _result(self, *, interrupted: bool) -> TrainResult:
        if interrupted and self.ranks.first:
            self._save()
        state, weights = self.state, self.out / "best.safetensors"
        kept = next(reversed(state.validated), None) if self.recipe.keep == "last" else state.best
        return TrainResult(weights, self._checkpoint, state.best, kept, len(state.history), interrupted)


def _network(recipe: TrainRecipe, *, fresh: bool) -> Segmenter:
    """The recipe's network; a fresh one starts from the weights that the recipe names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        net = create_model(recipe.model, num_classes=len(label_set(recipe.classes)), **recipe.options)
    if fresh and recipe.backbone_weights == "imagenet":
        load_imagenet(net.features())
    elif fresh and recipe.backbone_weights == "inherited":
        inherit_imagenet(net.features())
    elif fresh and recipe.backbone_weights != "none":
        load_checkpoint(net, Path(recipe.backbone_weights), new_head=recipe.new_head)
    return net


@torch.no_grad()
def evaluate_network(net: nn.Module, frames: LabelledFrames, device: torch.device) -> ConfusionMatrix:
    """The confusion matrix of a network on labelled frames at their own size, one at a time."""
    matrix = ConfusionMatrix.empty(frames.num_classes)
    net.eval()
    for frame, mask in frames:
        image = torch.from_numpy(np.ascontiguousarray(frame[None, ..., ::-1])).to(device)
        matrix.update(net(normalize(image)).argmax(1)[0].to(torch.uint8).cpu().numpy(), mask)
    return matrix
