"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgeseg.data.labelled import LabelledFrames
from edgeseg.errors import EdgesegError, UsageError
from edgeseg.evaluate import ConfusionMatrix
from edgeseg.files import sha256_file
from edgeseg.labels import label_set
from edgeseg.models import create_model, save_weights
from edgeseg.models.decoders import Segmenter
from edgeseg.train.batches import class_frequency, normalize, split_frames, training_batches
from edgeseg.train.checkpoint import Epoch, State, read_checkpoint, write_checkpoint, write_history
from edgeseg.train.objective import Objective
from edgeseg.train.precision import keep_depthwise_in_float
from edgeseg.train.pretrained import inherit_imagenet, load_checkpoint, load_imagenet
from edgeseg.train.quantization import quantize_convolutions
from edgeseg.train.ranks import Ranks, open_device
from edgeseg.train.recipe import Training, TrainRecipe

__all__ = ["Progress", "TrainResult", "evaluate_network", "train"]

#: What a run writes into its folder.
WEIGHTS, CHECKPOINT, HISTORY = WRITTEN = ("best.safetensors", "last.ckpt", "history.jsonl")


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
        seconds: That all starts of the run together took, validation too.
        frames_per_s: Augmented frames trained on per second of these.
    """

    weights: Path
    checkpoint: Path
    best: Epoch | None
    kept: Epoch | None
    epochs_done: int
    interrupted: bool
    seconds: float
    frames_per_s: float


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

    On one machine's CPU the same recipe gives the same weights, bit by bit, also when a run was stopped and resumed.
    Several processes each normalize, weigh and average their own part of a batch, so that their count matters too.

    Args:
        recipe: All that the result depends on.
        out: Gets `history.jsonl` and `last.ckpt` after each epoch, the latter when stopped too, and `best.safetensors`
            after those that are validated.
        device: A torch device: `cpu`, `cuda`, `cuda:1`, or `auto` for the GPU of this process, where there is one.
        workers: Processes that augment; 0 does it in this one. The batches are the same.
        resume: Go on from `out/last.ckpt`, at the very batch where it stopped.
        on_progress: Called after every step.
        stop: Asked after every step and every epoch; True saves a checkpoint and ends the run.

    Raises:
        UsageError: Data, model or recipe do not fit, there is nothing to resume, or `out` holds another run.
        MissingDependency: The device is not there, or the package of the ImageNet weights.
        EdgesegError: The loss, a gradient or a weight is no longer a number; what was saved before is kept.
    """
    place = open_device(device)
    ranks = Ranks(place, recipe.batch)
    try:
        return _Run(recipe, out, place, ranks, resume).loop(workers, on_progress, stop)
    finally:
        ranks.close()


class _Run:
    def __init__(self, recipe: TrainRecipe, out: Path, device: torch.device, ranks: Ranks, resume: bool) -> None:
        self.recipe, self.out, self.device, self.ranks, self._since = recipe, out, device, ranks, time.monotonic()
        if not resume and (found := [name for name in WRITTEN if (out / name).exists()]):
            raise UsageError(
                f"{out} holds a run already: {', '.join(found)}.",
                hint="Go on with it by --resume, or choose another folder with -o.",
            )
        self.training, self.validation = split_frames(recipe)
        frequency, _ = class_frequency(self.training), class_frequency(self.validation)
        for _ in self.validation:
            """Frames that can't be used are told now, not after the first epochs."""
        self.steps = len(self.training) // recipe.batch
        self.state = State(len(self.training), ranks.count, _made_from(recipe))
        self.net = _network(recipe, fresh=not resume)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.objective = Objective(self.net, recipe, self._class_weights(frequency)).to_device(device)
        average = get_ema_multi_avg_fn(recipe.optimizer.ema)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(self.net, multi_avg_fn=average, use_buffers=True)
        if recipe.precision == "bf16" and device.type == "cpu":
            keep_depthwise_in_float(self.net)
        if recipe.quantization_aware:
            quantize_convolutions(self.net)
        self.rates = (recipe.optimizer.backbone_rate, recipe.optimizer.rate)
        parts = self.objective.parameter_groups()
        groups = [{"params": part, "lr": rate} for part, rate in zip(parts, self.rates, strict=True)]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=recipe.optimizer.weight_decay)
        if resume:
            self._load()
        self.loss = self.ranks.share(self.objective)

    @property
    def _checkpoint(self) -> Path:
        return self.out / CHECKPOINT

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
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        value = self.ranks.mean(loss)
        # All processes have the same gradients by now, whose norm is finite only if each of them is.
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), math.inf)
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            raise self._diverged(f"The loss is {value}, the gradient's norm {norm.item()}")
        self.optimizer.step()
        if settings.ema:
            self.averaged.update_parameters(self.net)
        state.step += 1
        state.loss_sum += value
        return value

    def _diverged(self, what: str) -> EdgesegError:
        good = next(reversed(self.state.validated), None)
        kept = f" {self.out / WEIGHTS} is that of epoch {good.epoch} or before." if good else ""
        hint = "Lower the rates or raise warm_up in the recipe, and start anew in another folder."
        return EdgesegError(f"{what} at step {self.state.step + 1}.{kept}", hint=hint)

    def _finish_epoch(self, number: int) -> None:
        """Validate where it is time, keep the weights that the recipe asks for, write history and checkpoint."""
        state, before, matrix = self.state, self.state.best, None
        loss, miou, class_iou = state.loss_sum / self.steps, None, {}
        if self.ranks.first and (number % self.recipe.validate_every == 0 or number == self.recipe.epochs):
            net = self.averaged.module if self.recipe.optimizer.ema else self.net
            self._refuse_broken_weights()
            matrix = evaluate_network(net, self.validation, self.device)
            miou = matrix.miou()
            names, ious = label_set(self.recipe.classes).names, matrix.class_iou().tolist()
            class_iou = {name: None if math.isnan(iou) else iou for name, iou in zip(names, ious, strict=True)}
            if self.recipe.keep == "last" or before is None or miou > (before.miou or 0.0):
                save_weights(net, self.out / WEIGHTS, self._metadata())
        state.history, state.loss_sum = [*state.history, Epoch(number, loss, miou, class_iou)], 0.0
        if self.ranks.first:
            write_history(self.out / HISTORY, state.history)
            self._save()

    def _metadata(self) -> dict[str, str]:
        height, width = self.validation.read(0)[0].shape[:2]
        told = Training(self.recipe, (height, width), self.state.made_from)
        return {"training": msgspec.json.encode(told).decode()}

    def _class_weights(self, frequency: npt.NDArray[np.float64]) -> Tensor | None:
        offset = self.recipe.loss.class_weight_offset
        return torch.from_numpy((1 / np.log(offset + frequency)).astype(np.float32)) if offset else None

    def _refuse_broken_weights(self) -> None:
        if not all(torch.isfinite(value).all() for value in self.net.state_dict().values()):
            raise self._diverged("A weight is not a number any more")

    def _save(self) -> None:
        self._refuse_broken_weights()
        now = time.monotonic()
        self.state.seconds, self._since = self.state.seconds + now - self._since, now
        parts: dict[str, Any] = {"objective": self.objective, "averaged": self.averaged, "optimizer": self.optimizer}
        tensors = {name: part.state_dict() for name, part in parts.items()}
        write_checkpoint(self._checkpoint, self.recipe, self.state, tensors)

    def _load(self) -> None:
        self.state, tensors = read_checkpoint(self._checkpoint, self.recipe, self.state)
        self.objective.load_state_dict(tensors["objective"])
        self.averaged.load_state_dict(tensors["averaged"])
        self.optimizer.load_state_dict(tensors["optimizer"])

    def _result(self, *, interrupted: bool) -> TrainResult:
        if interrupted and self.ranks.first:
            self._save()
        state, weights = self.state, self.out / WEIGHTS
        kept = next(reversed(state.validated), None) if self.recipe.keep == "last" else state.best
        seconds = state.seconds + time.monotonic() - self._since
        speed = state.step * self.recipe.batch / seconds
        epochs = len(state.history)
        return TrainResult(weights, self._checkpoint, state.best, kept, epochs, interrupted, seconds, speed)


def _made_from(recipe: TrainRecipe) -> dict[str, str]:
    """Hashes of the weights that a recipe names as files."""
    named = {"start": recipe.backbone_weights, "teacher": recipe.distillation.teacher if recipe.distillation else ""}
    return {what: sha256_file(Path(path)) for what, path in named.items() if Path(path).is_file()}


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
    backbone, crop_hw = net.features(), recipe.augment.crop_hw
    if not backbone.rounds_up and min(crop_hw) < backbone.deepest:
        raise UsageError(
            f"{recipe.model} needs crops of {backbone.deepest} pixels at least, crop_hw is {list(crop_hw)}.",
            hint=f"In the recipe: crop_hw = [{backbone.deepest}, {backbone.deepest}] or larger, in [augment].",
        )
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
