"""Augmentation: frame and mask stay together, and the generator decides everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cv2")

from edgeseg.labels import VOID
from edgeseg.train.augment import augment
from edgeseg.train.recipe import Augment

STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0}


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A mask of random classes, and a frame that shows each class as a grey of its own."""
    mask = np.random.default_rng(0).integers(0, 5, (height, width)).astype(np.uint8)
    return np.repeat((mask * 20 + 10)[..., None], 3, axis=2), mask


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    crop=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 1000),
)
def test_a_mask_follows_its_frame(size: tuple[int, int], crop: tuple[int, int], seed: int) -> None:
    settings = Augment(crop_hw=crop, scale=(1.0, 1.0), **STILL)
    frame, mask = augment(*scene(*size), settings, np.random.default_rng(seed))
    assert frame.shape == (*crop, 3)
    assert mask.shape == crop
    inside = mask != VOID
    assert (frame[inside][:, 0] == mask[inside] * 20 + 10).all()
    assert (frame[~inside] == 128).all(), "padding is grey and void"
    assert inside.sum() == min(size[0], crop[0]) * min(size[1], crop[1])


@given(seed=st.integers(0, 1000), scale=st.floats(0.05, 3))
def test_the_same_generator_gives_the_same_sample(seed: int, scale: float) -> None:
    settings = Augment(crop_hw=(16, 16), scale=(scale, scale * 1.5))
    one, other = (augment(*scene(20, 24), settings, np.random.default_rng(seed)) for _ in range(2))
    assert (one[0] == other[0]).all()
    assert (one[1] == other[1]).all()
    assert one[0].dtype == one[1].dtype == np.uint8


def test_half_of_the_samples_are_flipped() -> None:
    settings = Augment(crop_hw=(4, 9), scale=(1.0, 1.0), **STILL)
    frame, mask = scene(4, 9)
    flipped = 0
    for seed in range(200):
        _, found = augment(frame, mask, settings, np.random.default_rng(seed))
        assert (found == mask).all() or (found == mask[:, ::-1]).all()
        flipped += not (found == mask).all()
    assert 70 < flipped < 130


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_each_colour_change_changes_the_frame_alone(name: str) -> None:
    settings = Augment(crop_hw=(12, 12), scale=(1.0, 1.0), flip=0.0, **{**STILL, name: 0.5})
    frame = np.random.default_rng(1).integers(40, 200, (12, 12, 3)).astype(np.uint8)
    mask = np.zeros((12, 12), np.uint8)
    changed, same_mask = augment(frame, mask, settings, np.random.default_rng(2))
    assert not (changed == frame).all()
    assert (same_mask == mask).all()
