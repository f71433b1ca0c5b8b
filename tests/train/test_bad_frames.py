"""Training on frames and masks that are damaged, empty, or of something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

pytest.importorskip("torch")

from edgeseg.errors import EdgesegError, UsageError
from edgeseg.labels import VOID
from edgeseg.train.loop import Progress, train
from edgeseg.train.recipe import Augment, Loss, TrainRecipe
from tests.train.scenes import write_data_set


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def test_a_batch_without_any_label_neither_teaches_nor_breaks_the_run(recipe: TrainRecipe, tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "data", training=4)
    for mask in sorted((data / "train" / "masks").iterdir())[:3]:
        cv2.imwrite(str(mask), np.full((48, 64), VOID, np.uint8))
    losses: list[float] = []
    own = msgspec.structs.replace(recipe, data=str(data))
    train(own, tmp_path / "run", on_progress=lambda progress: losses.append(progress.loss))
    assert 0.0 in losses and max(losses) > 0


@pytest.mark.parametrize("split", ["train", "val"])
def test_masks_without_a_label_are_refused(recipe: TrainRecipe, tmp_path: Path, split: str) -> None:
    data = write_data_set(tmp_path / "data", training=2, validation=2)
    for mask in (data / split / "masks").iterdir():
        cv2.imwrite(str(mask), np.full((48, 64), VOID, np.uint8))
    with pytest.raises(UsageError, match=rf"All 2 masks .*{split}.* are void"):
        train(msgspec.structs.replace(recipe, data=str(data)), tmp_path / "run")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_label_that_is_no_class_is_found_before_training(recipe: TrainRecipe, tmp_path: Path, split: str) -> None:
    data = write_data_set(tmp_path / "data")
    mask = sorted((data / split / "masks").iterdir())[-1]
    cv2.imwrite(str(mask), np.full((48, 64), 7, np.uint8))
    own = msgspec.structs.replace(recipe, data=str(data), loss=Loss(class_weight_offset=0))
    seen: list[Progress] = []
    with pytest.raises(UsageError, match=mask.name) as caught:
        train(own, tmp_path / "run", on_progress=seen.append)
    assert "7" in caught.value.message and not seen


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(cut, "no image that OpenCV can decode", id="a file that ends early"),
        pytest.param(
            lambda path: cv2.imwrite(str(path), np.zeros((48, 60, 3), np.uint8)),
            "is 60x48, its mask 64x48",
            id="another size than its mask's",
        ),
    ],
)
def test_a_validation_frame_that_cannot_be_used_is_told_before_training(
    recipe: TrainRecipe, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    data = write_data_set(tmp_path / "data")
    frame = sorted((data / "val" / "images").iterdir())[-1]
    damage(frame)
    seen: list[Progress] = []
    with pytest.raises(EdgesegError, match=said) as caught:
        train(msgspec.structs.replace(recipe, data=str(data)), tmp_path / "run", on_progress=seen.append)
    assert frame.name in caught.value.message and not seen


@pytest.mark.parametrize("workers", [0, 1])
def test_a_frame_that_breaks_while_training_is_named(recipe: TrainRecipe, tmp_path: Path, workers: int) -> None:
    data = write_data_set(tmp_path / "data", training=2)
    cut(sorted((data / "train" / "images").iterdir())[1])
    with pytest.raises(EdgesegError, match="001") as caught:
        train(msgspec.structs.replace(recipe, data=str(data)), tmp_path / "run", workers=workers)
    assert "Traceback" not in str(caught.value)


def test_crops_that_the_network_would_shrink_to_nothing_are_refused(recipe: TrainRecipe, tmp_path: Path) -> None:
    own = msgspec.structs.replace(
        recipe, model="fcn-darknet19", options={"output_stride": 32}, augment=Augment(crop_hw=(16, 48))
    )
    with pytest.raises(UsageError, match=r"needs crops of 32 pixels at least, crop_hw is \[16, 48\]") as caught:
        train(own, tmp_path)
    assert "[augment]" in caught.value.hint
