"""`edgeseg train`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from edgeseg.catalog import NETWORKS
from edgeseg.cli.interrupt import stopped_by_interrupt
from edgeseg.cli.options import size
from edgeseg.cli.report import format_time, json_option, points, print_json, print_table, progress, say
from edgeseg.errors import UsageError, nearest
from edgeseg.files import shared_folder
from edgeseg.recipes import decode_toml, find_toml

if TYPE_CHECKING:
    from edgeseg.train.checkpoint import Epoch
    from edgeseg.train.loop import Progress, TrainResult
    from edgeseg.train.recipe import TrainRecipe

__all__ = ["train"]


@click.command()
@click.argument("recipe")
@click.option("--data", help="A folder with train/ and val/, each with images/ and masks/ or labels/; or 'camvid'.")
@click.option("--classes", help="Of the masks: 'camvid', 'cityscapes', a number, or names with commas between.")
@click.option("--imgsz", type=size, metavar="HxW", help="Bring frames to this size first.  [default: as they are]")
@click.option("--epochs", type=click.IntRange(min=1), help="Rounds over the training frames.")
@click.option("--batch", type=click.IntRange(min=2), help="Frames per step.")
@click.option("--seed", type=click.IntRange(min=0), help="Decides all that is random.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that augment.")
@click.option("--resume", is_flag=True, help="Go on with the run in the output folder, where it stopped.")
@click.option(
    "-o", "out", type=click.Path(path_type=Path, file_okay=False), help="Output folder.  [default: runs/NAME]"
)
@json_option
def train(
    recipe: str,
    device: str,
    workers: int,
    resume: bool,
    out: Path | None,
    as_json: bool,
    **changes: Any,
) -> None:
    """Train a network by RECIPE: a .toml file, the name of a shipped one, or a model's name.

    Under torchrun the processes share every batch, one GPU each, or the CPU.

    The output folder gets best.safetensors (the best weights on the validation frames, or the last where the recipe
    says so), history.jsonl (loss and mIoU by epoch) and last.ckpt. Ctrl-C saves a checkpoint and ends with 130;
    --resume goes on at the very batch.

    \b
    Examples:
      edgeseg train liteseg-efficientnet-lite0-camvid-teacher --data camvid
      edgeseg train liteseg-mobilenetv2 --data street/ --classes 'road,car,sky' --imgsz 360x640 -o runs/street
      edgeseg train liteseg-mobilenetv2 --data street/ --classes 'road,car,sky' --imgsz 360x640 -o runs/street --resume
      torchrun --nproc-per-node 4 -m edgeseg train liteseg-efficientnet-lite0-camvid-teacher --data camvid
    """
    from edgeseg.train.loop import train as run_training
    from edgeseg.train.ranks import open_device

    plan = _plan(recipe, {name: value for name, value in changes.items() if value is not None})
    out = out or Path("runs") / Path(recipe).stem
    used = str(open_device(device))
    first = os.environ.get("RANK", "0") == "0"
    if first:
        say(f"Training {plan.model} on {used}, epochs: {plan.epochs}. The weights go to {out}.")
    shown = progress("Training") if first else contextlib.nullcontext(lambda share, note: None)
    with stopped_by_interrupt("Saving a checkpoint" if first else "") as stop, shown as update:
        result = run_training(
            plan,
            out,
            device=used,
            workers=workers,
            resume=resume,
            on_progress=lambda now: update(now.step / now.steps, _note(now)),
            stop=stop,
        )
    if first and as_json:
        print_json("train", _report(plan, result, used))
    elif first:
        _tell(plan, result)
    if result.interrupted:
        click.get_current_context().exit(130)


def _plan(word: str, changes: dict[str, Any]) -> TrainRecipe:
    """The recipe that the arguments mean."""
    from edgeseg.train.recipe import TrainRecipe, default_recipe

    models = [network.name for network in NETWORKS]
    if word in models:
        if changes.get("data") != "camvid" and not {"data", "classes"} <= set(changes):
            raise UsageError(
                f"'{word}' is a model, and it was not said what to train it on.",
                hint="Say so: --data FOLDER --classes 'road,car,sky', or --data camvid.",
            )
        return default_recipe(word, **changes)
    try:
        path = find_toml(word, "recipes")
    except UsageError as error:
        shipped = [path.stem for path in shared_folder("recipes").glob("*.toml")]
        hint = f"{nearest(Path(word).stem, {*models, *shipped})} Or give the path of a .toml file."
        raise UsageError(f"'{word}' is neither a recipe nor a model.", hint=hint) from error
    plan = decode_toml(path, TrainRecipe)
    if changes.get("data", plan.data) != plan.data and "classes" not in changes:
        raise UsageError(
            f"{path} is for the classes {plan.classes}; it was not said whether --data {changes['data']} has them too.",
            hint=f"Say so: --classes {plan.classes}, or --classes 'road,car,sky'.",
        )
    return msgspec.structs.replace(plan, **changes)


def _note(now: Progress) -> str:
    best = f", mIoU {points(now.last.miou)}, best {points(now.best.miou)}" if now.last and now.best else ""
    return f"epoch {now.epoch} of {now.epochs}, loss {now.loss:.3f}{best}"


def _report(plan: TrainRecipe, result: TrainResult, device: str) -> dict[str, Any]:
    return {
        "recipe": plan,
        "device": device,
        "interrupted": result.interrupted,
        "epochs": result.epochs_done,
        "best": result.best,
        "kept": result.kept,
        "weights": str(result.weights) if result.kept else "",
        "checkpoint": str(result.checkpoint),
        "seconds": round(result.seconds, 3),
        "frames_per_s": round(result.frames_per_s, 3),
    }


def _tell(plan: TrainRecipe, result: TrainResult) -> None:
    if result.kept is not None:
        _tell_epoch(result.kept)
    if result.interrupted:
        say(f"Stopped; epochs done: {result.epochs_done} of {plan.epochs}. Go on with the same command and --resume.")
        return
    say(f"Done in {format_time(result.seconds)}, {result.frames_per_s:.1f} frames a second. Weights: {result.weights}")
    say(f"Next: edgeseg build {result.weights} --int8 {_frames_of(plan)}")


def _frames_of(plan: TrainRecipe) -> str:
    """The options of a build that calibrates on what was trained on, and judges on what was validated on."""
    root = Path(plan.data)
    if not root.is_dir():
        return f"--calib {plan.data}-train --data {plan.data}"
    return (
        f"--calib {root / 'train/images'} --data {root}" if (root / "train").is_dir() else f"--calib {root / 'images'}"
    )


def _tell_epoch(kept: Epoch) -> None:
    rows = [(name, points(iou)) for name, iou in kept.class_iou.items()]
    print_table(f"Kept: epoch {kept.epoch}", ("class", "IoU"), [*rows, ("mean", points(kept.miou))])
