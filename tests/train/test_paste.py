"""Copy-paste: whole objects, where they stand, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

from edgeseg.train.paste import paste_objects

RARE = (2, 3)


def scene(grey: int, objects: dict[int, tuple[slice, slice]]) -> tuple[np.ndarray, np.ndarray]:
    frame, mask = np.full((12, 16, 3), grey, np.uint8), np.zeros((12, 16), np.uint8)
    for class_id, place in objects.items():
        mask[place] = class_id
    return frame, mask


TARGET = scene(10, {1: (slice(0, 6), slice(0, 16))})
SOURCE = scene(
    200,
    {1: (slice(0, 2), slice(0, 16)), 2: (slice(3, 6), slice(2, 5)), 3: (slice(8, 11), slice(9, 12))},
)


def test_objects_are_pasted_whole_with_their_labels() -> None:
    seen = set()
    for seed in range(40):
        frame, mask = paste_objects(TARGET, SOURCE, RARE, np.random.default_rng(seed))
        pasted = (frame == 200).all(2)
        assert (pasted == np.isin(mask, RARE)).all(), "frame and mask change together"
        assert (mask[pasted] == SOURCE[1][pasted]).all()
        assert (mask[~pasted] == TARGET[1][~pasted]).all()
        for class_id in RARE:
            assert (mask == class_id).sum() in {0, 9}, "an object is taken whole or not at all"
        seen.add(tuple(class_id in mask for class_id in RARE))
    assert len(seen) == 4, "each object is taken or left by itself"


def test_objects_that_touch_go_together() -> None:
    source = scene(200, {2: (slice(3, 6), slice(2, 5)), 3: (slice(6, 9), slice(2, 5))})
    for seed in range(20):
        _, mask = paste_objects(TARGET, source, RARE, np.random.default_rng(seed))
        assert (2 in mask) == (3 in mask)


def test_without_a_rare_object_nothing_changes() -> None:
    frame, mask = paste_objects(TARGET, TARGET, RARE, np.random.default_rng(0))
    assert (frame == TARGET[0]).all()
    assert (mask == TARGET[1]).all()
