"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgeseg.data.labelled import LabelledFrames, find_data_set, open_labelled
from edgeseg.errors import UsageError
from edgeseg.evaluate import ConfusionMatrix
from edgeseg.files import atomic_path
from edgeseg.labels import VOID, label_set
from edgeseg.models import create_model, load_weights, save_weights
from edgeseg.train.batches import Samples, class_frequency, normalize, training_batches, validation_batches
from edgeseg.train.pretrained import load_imagenet, split_parameters
from edgeseg.train.recipe import TrainRecipe

__all__ = ["Progress", "TrainResult", "train"]


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `miou` is that of the last evaluation, `best` the highest so far, 0 to 1."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    miou: float
    best: float
    seconds_left: float


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind. `interrupted` runs go on with `resume`."""

    weights: Path
    checkpoint: Path
    best_miou: float
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

    Args:
        recipe: All that the result depends on.
        out: Gets `best.safetensors`, and `last.ckpt` after each epoch and when stopped.
        device: A torch device, `cpu` or `cuda`.
        workers: Processes that augment; 0 does it in this one.
        resume: Go on from `out/last.ckpt`, at the very batch where it stopped.
        on_progress: Called after every step.
        stop: Asked after every step; True saves a checkpoint and ends the run.

    Raises:
        UsageError: Data, model or recipe do not fit, or there is nothing to resume.
    """
    run = _Run(recipe, out, torch.device(device), resume)
    return run.loop(workers, on_progress, stop)


class _Run:
    def __init__(self, recipe: TrainRecipe, out: Path, device: torch.device, resume: bool) -> None:
        self.recipe, self.out, self.device = recipe, out, device
        self.training, self.validation = _open_data(recipe)
        if len(self.training) < recipe.batch:
            raise UsageError(f"There are {len(self.training)} training frames, fewer than one batch of {recipe.batch}.")
        torch.manual_seed(recipe.seed)
        net = create_model(recipe.model, num_classes=self.training.num_classes, **recipe.options)
        if recipe.backbone_weights == "imagenet" and not resume:
            load_imagenet(net.get_submodule(str(net.prefix)))
        elif recipe.backbone_weights not in ("imagenet", "none") and not resume:
            load_weights(net, recipe.backbone_weights)
        self.net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        ema = get_ema_multi_avg_fn(recipe.optimizer.ema)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(self.net, multi_avg_fn=ema, use_buffers=True)
        self.steps = len(self.training) // recipe.batch
        self.optimizer, self.schedule = self._optimizer()
        self.step, self.best, self.miou = 0, float("nan"), float("nan")
        out.mkdir(parents=True, exist_ok=True)
        if resume:
            self._load()

    def loop(self, workers: int, on_progress: Callable[[Progress], None], stop: Callable[[], bool]) -> TrainResult:
        recipe, samples = self.recipe, Samples(self.training, self.recipe.augment, self.recipe.seed)
        weights, started, first = self._class_weights(), time.monotonic(), self.step
        while self.step < recipe.epochs * self.steps:
            epoch, done = divmod(self.step, self.steps)
            for frames, masks in training_batches(samples, batch=recipe.batch, epoch=epoch, skip=done, workers=workers):
                loss = self._train_step(frames, masks, weights)
                self.step += 1
                total = recipe.epochs * self.steps
                left = (time.monotonic() - started) / (self.step - first) * (total - self.step)
                place = (epoch + 1, recipe.epochs, self.step - epoch * self.steps, self.steps)
                on_progress(Progress(*place, loss, self.miou, self.best, left))
                if stop():
                    return self._result(interrupted=True)
            self._evaluate_and_keep()
            self._save()
        return self._result(interrupted=False)

    def _train_step(self, frames: Tensor, masks: Tensor, weights: Tensor | None) -> float:
        self.net.train()
        images, target = normalize(frames.to(self.device)), masks.to(self.device, torch.int64)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            logits = self.net(images)
        loss = functional.cross_entropy(logits.float(), target, weight=weights, ignore_index=VOID)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        if self.recipe.optimizer.ema:
            self.averaged.update_parameters(self.net)
        return float(loss.detach())

    def _evaluate_and_keep(self) -> None:
        net = self._evaluated()
        self.miou = evaluate_network(net, self.validation, self.device).miou()
        if not self.miou <= self.best:
            self.best = self.miou
            save_weights(net, self.out / "best.safetensors", {"recipe": msgspec.json.encode(self.recipe).decode()})

    def _evaluated(self) -> nn.Module:
        return self.averaged.module if self.recipe.optimizer.ema else self.net

    def _class_weights(self) -> Tensor | None:
        offset = self.recipe.class_weight_offset
        if not offset:
            return None
        weights = 1 / np.log(offset + class_frequency(self.training))
        return torch.from_numpy(weights.astype(np.float32)).to(self.device)

    def _optimizer(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        settings = self.recipe.optimizer
        backbone, rest = split_parameters(self.net)
        groups = [{"params": backbone, "lr": settings.backbone_rate}, {"params": rest, "lr": settings.rate}]
        optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        total = self.recipe.epochs * self.steps
        warm_up = settings.warm_up * total

        def rate(step: int) -> float:
            return float(min(1.0, (step + 1) / (warm_up + 1)) * (1 - min(step, total) / total) ** settings.power)

        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    def _save(self) -> None:
        state = {
            "recipe": msgspec.json.encode(self.recipe).decode(),
            "step": self.step,
            "best": self.best,
            "miou": self.miou,
            "net": self.net.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch, "_step_count": self.step + 1},
        }
        with atomic_path(self.out / "last.ckpt") as part:
            torch.save(state, part)

    def _load(self) -> None:
        path = self.out / "last.ckpt"
        if not path.is_file():
            raise UsageError(
                f"There is nothing to resume: {path} does not exist.", hint="Leave out --resume to start anew."
            )
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != msgspec.json.encode(self.recipe).decode():
            raise UsageError(
                f"The run in {self.out} was started with another recipe.",
                hint="Resume with the same recipe and options, or choose another folder with -o.",
            )
        self.step, self.best, self.miou = state["step"], state["best"], state["miou"]
        self.net.load_state_dict(state["net"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])

    def _result(self, *, interrupted: bool) -> TrainResult:
        if interrupted:
            self._save()
        return TrainResult(
            self.out / "best.safetensors", self.out / "last.ckpt", self.best, self.step // self.steps, interrupted
        )


def _open_data(recipe: TrainRecipe) -> tuple[LabelledFrames, LabelledFrames]:
    root = Path(recipe.data)
    root = root if root.is_dir() else find_data_set(recipe.data)
    classes = len(label_set(recipe.classes))
    return open_labelled(root / "train", classes), open_labelled(root / "val", classes)


@torch.no_grad()
def evaluate_network(net: nn.Module, frames: LabelledFrames, device: torch.device) -> ConfusionMatrix:
    """The confusion matrix of a network on labelled frames at their own size."""
    matrix = ConfusionMatrix.empty(frames.num_classes)
    net.eval()
    for batch, mask in validation_batches(frames):
        prediction = net(normalize(batch.to(device))).argmax(1)[0].to(torch.uint8).cpu().numpy()
        matrix.update(prediction, mask)
    return matrix
