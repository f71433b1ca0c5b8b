"""What tests of training share."""

from __future__ import annotations

import pytest

from edgeseg.train.recipe import Augment, Optimizer, TrainRecipe
from tests.train.scenes import CLASSES, write_data_set


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> TrainRecipe:
    """Two epochs of three steps."""
    return TrainRecipe(
        "liteseg-mobilenetv2",
        classes=CLASSES,
        data=str(write_data_set(tmp_path_factory.mktemp("scenes"))),
        options={"width": 0.25},
        backbone_weights="none",
        epochs=2,
        batch=2,
        augment=Augment(crop_hw=(32, 48), scale=(0.8, 1.2)),
        optimizer=Optimizer(warm_up=0.2, ema=0.9),
    )
