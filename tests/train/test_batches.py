"""Batches: which samples, in which order, from which frames."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgeseg.data.labelled import open_labelled
from edgeseg.errors import UsageError
from edgeseg.labels import VOID
from edgeseg.train.batches import class_frequency, normalize, split_frames, training_batches
from edgeseg.train.recipe import Augment, TrainRecipe
from tests.train.scenes import CLASSES, write_data_set, write_scenes


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> TrainRecipe:
    """Two epochs of three batches from seven frames."""
    data = write_data_set(tmp_path_factory.mktemp("scenes"), training=7)
    return TrainRecipe("any", classes=CLASSES, data=str(data), epochs=2, batch=2, augment=Augment(crop_hw=(16, 24)))


def batches(recipe: TrainRecipe, first: int = 0, workers: int = 0) -> list[Any]:
    frames, _ = split_frames(recipe)
    return list(training_batches(recipe, frames, first=first, workers=workers))


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) for pair in zip(one, other, strict=True) for a, b in zip(*pair, strict=True)
    )


def test_a_run_has_whole_batches_of_every_epoch(recipe: TrainRecipe) -> None:
    found = batches(recipe)
    assert [(tuple(frames.shape), tuple(masks.shape)) for frames, masks in found] == [((2, 16, 24, 3), (2, 16, 24))] * 6
    assert {frames.dtype for frames, _ in found} == {torch.uint8}
    assert not same(found[:3], found[3:]), "each epoch augments anew"


@pytest.mark.parametrize("first", [1, 3, 5, 6])
def test_a_resumed_run_gets_the_batches_that_were_left(recipe: TrainRecipe, first: int) -> None:
    assert same(batches(recipe, first), batches(recipe)[first:])


def test_workers_give_the_same_batches(recipe: TrainRecipe) -> None:
    assert same(batches(recipe, workers=2), batches(recipe))


def test_another_seed_gives_other_batches(recipe: TrainRecipe) -> None:
    assert not same(batches(msgspec.structs.replace(recipe, seed=1)), batches(recipe))


def test_normalized_pixels_are_exact_and_rgb() -> None:
    frames = torch.arange(256, dtype=torch.uint8).repeat(3, 1).T.reshape(1, 16, 16, 3)
    images = normalize(frames)
    assert images.shape == (1, 3, 16, 16)
    assert images[0, 0].flatten().tolist() == [(x - 128) / 128 for x in range(256)]


def test_class_frequency_counts_labelled_pixels_alone(tmp_path: Path) -> None:
    frames = open_labelled(write_scenes(tmp_path, 3, seed=5), 4)
    masks = np.stack([frames.read(index)[1] for index in range(3)])
    expected = [np.mean(masks[masks != VOID] == index) for index in range(4)]
    assert class_frequency(frames) == pytest.approx(expected)
    assert expected[3] == 0


def test_a_folder_without_split_keeps_its_last_tenth(
    tmp_path: Path, recipe: TrainRecipe, caplog: pytest.LogCaptureFixture
) -> None:
    write_scenes(tmp_path, 21, seed=5, size_hw=(8, 8))
    with caplog.at_level(logging.WARNING, "edgeseg"):
        training, validation = split_frames(msgspec.structs.replace(recipe, data=str(tmp_path)))
    assert "the last 2 of 21 frames validate" in caplog.text
    assert [path.stem for path, _ in validation.pairs] == ["019", "020"]
    assert len(training) == 19


def test_too_few_frames_for_a_batch_are_refused(recipe: TrainRecipe) -> None:
    with pytest.raises(UsageError, match="7 frames to train on, fewer than one batch of 8"):
        split_frames(msgspec.structs.replace(recipe, batch=8))


def test_labels_above_the_class_count_are_refused(tmp_path: Path, recipe: TrainRecipe) -> None:
    data = write_data_set(tmp_path)
    cv2.imwrite(str(data / "train" / "masks" / "002.png"), np.full((48, 64), 7, np.uint8))
    frames, _ = split_frames(msgspec.structs.replace(recipe, data=str(data)))
    with pytest.raises(UsageError, match=r"002\.png holds the ids 7, but there are 3 classes"):
        class_frequency(frames)


def test_held_out_frames_come_in_a_row_and_are_not_trained_on(tmp_path: Path) -> None:
    data = write_data_set(tmp_path, training=40)
    recipe = TrainRecipe("any", classes=CLASSES, data=str(data), batch=2, hold_out=0.2)
    training, validation = split_frames(recipe)
    names = [[int(image.stem) for image, _ in part.pairs] for part in (training, validation)]
    assert sorted(names[0] + names[1]) == list(range(40)), "each frame is on one side, and val/ is not looked at"
    assert names[1] == [4, 9, 14, 19, 24, 29, 34, 39], "the end of each stretch"


def test_frames_are_held_out_of_a_folder_without_splits_too(tmp_path: Path) -> None:
    data = write_data_set(tmp_path, training=40) / "train"
    training, validation = split_frames(TrainRecipe("any", classes=CLASSES, data=str(data), batch=2, hold_out=0.2))
    assert (len(training), len(validation)) == (32, 8)


def test_holding_out_nothing_is_refused(tmp_path: Path) -> None:
    data = write_data_set(tmp_path, training=40)
    recipe = TrainRecipe("any", classes=CLASSES, data=str(data), batch=2, hold_out=0.05)
    with pytest.raises(UsageError, match="holds none out of any") as caught:
        split_frames(recipe)
    least = float(caught.value.hint.split("to ")[1].split(" ")[0])
    assert len(split_frames(msgspec.structs.replace(recipe, hold_out=least))[1]) >= 1


def test_frames_and_masks_are_brought_to_one_size(tmp_path: Path) -> None:
    recipe = TrainRecipe("any", classes=CLASSES, data=str(write_data_set(tmp_path)), batch=2, imgsz=(30, 44))
    for part in split_frames(recipe):
        frame, mask = part.read(0)
        assert (frame.shape, mask.shape) == ((30, 44, 3), (30, 44))
        assert set(np.unique(mask)) <= {0, 1, 2, 255}, "no ids between those that were there"


def test_pasted_samples_hold_more_of_the_rare_class(tmp_path: Path) -> None:
    data = write_data_set(tmp_path, training=8)
    plain = Augment(crop_hw=(48, 64), scale=(1.0, 1.0))
    shares = []
    for settings in (plain, msgspec.structs.replace(plain, paste=1.0, paste_classes=("car",))):
        recipe = TrainRecipe("any", classes=CLASSES, data=str(data), epochs=4, batch=2, augment=settings)
        masks = torch.cat([batch[1] for batch in batches(recipe)])
        shares.append(float((masks == 2).float().mean()))
    assert shares[1] > 1.2 * shares[0]


def test_a_misspelt_class_to_paste_is_refused(recipe: TrainRecipe) -> None:
    settings = Augment(crop_hw=(16, 24), paste=0.5, paste_classes=("tre",))
    with pytest.raises(UsageError, match="paste_classes has 'tre'") as caught:
        batches(msgspec.structs.replace(recipe, augment=settings))
    assert "'tree'" in caught.value.hint
