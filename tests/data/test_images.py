"""Images and masks from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.data.images import image_files, read_frame, read_mask
from edgeseg.errors import EdgesegError, UsageError
from tests.data.media import cut, write_images

MASK = np.array([[0, 1, 2], [2, 255, 0]], np.uint8)


def test_image_files_are_found_below_and_sorted(tmp_path: Path) -> None:
    write_images(tmp_path, ["b.png", "a/c.JPG"])
    (tmp_path / "d.png").mkdir()
    (tmp_path / "e.txt").touch()
    assert image_files(tmp_path) == [tmp_path / "a" / "c.JPG", tmp_path / "b.png"]


def test_frames_are_bgr_and_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 4), (255, 0, 0))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    frame = read_frame(tmp_path / "turned.jpg")
    assert frame.shape == (8, 4, 3) and frame.dtype == np.uint8
    assert frame[..., 2].min() > 240 and frame[..., 0].max() < 15


def test_grey_images_become_frames_of_three_channels(tmp_path: Path) -> None:
    Image.fromarray(MASK).save(tmp_path / "grey.png")
    assert np.array_equal(read_frame(tmp_path / "grey.png"), np.dstack([MASK] * 3))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "could not be read: No such file", id="missing"),
        pytest.param(b"", r"no image that OpenCV can decode \(0 bytes\)", id="empty"),
        pytest.param(b"GIF? no", "no image", id="no image"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(EdgesegError, match=said):
        read_frame(tmp_path / "x.png")


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_give_indices_also_from_palette_images(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(MASK)
    if mode == "P":
        image.putpalette([7, 8, 9] * 256)
    image.save(tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as saved:
        assert saved.mode == mode
    assert np.array_equal(read_mask(tmp_path / "m.png", 3), MASK)


def test_ids_above_the_class_count_are_named(tmp_path: Path) -> None:
    Image.fromarray(MASK).save(tmp_path / "m.png")
    with pytest.raises(UsageError, match="holds the ids 2, but there are 2 classes"):
        read_mask(tmp_path / "m.png", 2)


def test_colour_masks_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([MASK] * 3)).save(tmp_path / "m.png")
    with pytest.raises(UsageError, match="has mode RGB"):
        read_mask(tmp_path / "m.png", 3)


def test_damaged_masks_are_named(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 3, (64, 64), np.uint8)).save(tmp_path / "m.png")
    cut(tmp_path / "m.png", 0.3)
    with pytest.raises(EdgesegError, match=r"m\.png could not be read"):
        read_mask(tmp_path / "m.png", 3)
