"""Recipes: what is shipped can be read, and what makes no sense is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.errors import UsageError
from edgeseg.files import shared_folder
from edgeseg.recipes import decode_toml
from edgeseg.train.recipe import Optimizer, TrainRecipe

SHIPPED = sorted(shared_folder("recipes").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_valid(path: Path) -> None:
    assert decode_toml(path, TrainRecipe).epochs > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("epcohs = 3", "no key 'epcohs'.\nDid you mean 'epochs'", id="a misspelt key"),
        pytest.param(
            "[augment]\ncrop = [1, 2]", "no key 'crop' in [augment].\nDid you mean 'crop_hw'", id="in a table"
        ),
        pytest.param("batch = 1", ">= 2 at batch", id="a batch of one, which can't be normalized"),
        pytest.param("epochs = 0", ">= 1 at epochs", id="no epoch"),
        pytest.param("precision = 'int8'", "'int8' at precision", id="a precision that does not train"),
        pytest.param("[loss]\nclass_weight_offset = 0.5", "only 0 and numbers above 1", id="weights without bound"),
        pytest.param("[augment]\nscale = [2.0, 1.0]", "the smallest comes first at augment", id="a scale upside down"),
        pytest.param("[augment]\npaste = 0.5", "paste_classes names no class", id="pasting nothing"),
        pytest.param("[distillation]\nweight = 2.0", "`teacher` at distillation", id="a teacher without a name"),
        pytest.param("[optimizer]\nema = 1.0", "< 1.0 at optimizer.ema", id="an average that never moves"),
    ],
)
def test_a_bad_recipe_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f"model = 'any'\n{text}\n")
    with pytest.raises(UsageError) as caught:
        decode_toml(path, TrainRecipe)
    assert said in str(caught.value)


def test_the_rate_rises_linearly_and_falls_by_the_power() -> None:
    steps, optimizer = 100, Optimizer(power=0.9, warm_up=0.1)
    factors = [optimizer.factor(step, steps) for step in range(steps)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors.index(max(factors)) == 10
    assert factors[10:] == pytest.approx([(1 - step / steps) ** 0.9 for step in range(10, steps)])
    assert all(0 < factor <= 1 for factor in factors)
