"""Labelled frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.data.labelled import find_data_set, open_labelled, open_validation
from edgeseg.errors import UsageError
from tests.data.media import SIZE_HW, write_images


def write_masks(folder: Path, names: list[str], size_hw: tuple[int, int] = SIZE_HW) -> None:
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(size_hw, index, np.uint8)).save(folder / name)


@pytest.mark.parametrize("masks", ["masks", "labels"])
def test_images_and_masks_are_paired_by_their_stem(tmp_path: Path, masks: str) -> None:
    written = write_images(tmp_path / "images", ["b/2.jpg", "a.png", "b/1.bmp"])
    write_masks(tmp_path / masks, ["a.png", "b/1.png", "b/2.png", "unused.png"])
    pairs = open_labelled(tmp_path, 4)
    assert len(pairs) == 3
    read = list(pairs)
    assert [int(mask[0, 0]) for _, mask in read] == [0, 1, 2]
    assert np.array_equal(read[0][0], written[1]) and np.array_equal(read[1][0], written[2])


@pytest.mark.parametrize(
    ("images", "masks", "said"),
    [
        pytest.param([], ["a.png"], "no labelled data set", id="no images/"),
        pytest.param(["a.png"], [], "no labelled data set", id="no masks/"),
        pytest.param(["a.png", "b.png"], ["a.png"], r"1 of 2 images have no mask in .*b\.png", id="a lonely image"),
    ],
)
def test_folders_that_are_no_data_set_are_refused(
    tmp_path: Path, images: list[str], masks: list[str], said: str
) -> None:
    write_images(tmp_path / "images", images)
    write_masks(tmp_path / "masks", masks)
    with pytest.raises(UsageError, match=said):
        open_labelled(tmp_path, 4)


def test_empty_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(UsageError, match="There are no images"):
        open_labelled(tmp_path, 4)


def test_sizes_that_differ_are_named(tmp_path: Path) -> None:
    write_images(tmp_path / "images", ["a.png"])
    write_masks(tmp_path / "masks", ["a.png"], (10, 20))
    with pytest.raises(UsageError, match=r"a\.png is 64x48, its mask 20x10"):
        open_labelled(tmp_path, 4).read(0)


def test_a_data_set_is_scored_on_its_validation_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "val"):
        write_images(tmp_path / "camvid" / part / "images", ["a.png"])
        write_masks(tmp_path / "camvid" / part / "masks", ["a.png"])
    monkeypatch.setenv("EDGESEG_DATA", str(tmp_path))
    expected = open_labelled(tmp_path / "camvid" / "val", 4)
    assert open_validation("camvid", 4) == expected
    assert open_validation(tmp_path / "camvid", 4) == expected
    assert open_validation(tmp_path / "camvid" / "val", 4) == expected
    assert open_validation(tmp_path / "camvid" / "train", 4) != expected


def test_a_data_set_is_found_below_the_folder_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "camvid").mkdir()
    monkeypatch.setenv("EDGESEG_DATA", str(tmp_path))
    assert find_data_set("camvid") == tmp_path / "camvid"


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        pytest.param("camvit", "neither a folder nor a known data set", "'camvid'", id="an unknown name"),
        pytest.param("camvid", "was not found; looked for", "EDGESEG_DATA", id="a known name that is not here"),
    ],
)
def test_data_sets_that_are_not_here_are_told(
    name: str, said: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESEG_DATA", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match=said) as caught:
        find_data_set(name)
    assert hint in caught.value.hint
