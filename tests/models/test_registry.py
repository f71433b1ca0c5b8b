"""Networks by name: what is possible, and what a mistyped name or option is answered with."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from edgeseg.errors import UsageError
from edgeseg.models import create_model, list_models


def test_every_listed_model_is_made_in_eval_mode() -> None:
    assert list_models() == sorted(list_models())
    for name in list_models():
        assert not create_model(name, num_classes=2).training


@pytest.mark.parametrize(
    ("name", "num_classes", "options", "said"),
    [
        pytest.param("liteseg-mobilnet2", 3, {}, "'liteseg-mobilenetv2'", id="a mistyped model gets the nearest name"),
        pytest.param(
            "unet", 3, {}, "DECODER-BACKBONE of liteseg, lraspp", id="an unrelated name gets all that are possible"
        ),
        pytest.param("liteseg-mobilenetv2", 3, {"skip": [16]}, "Did you mean 'skips'", id="a mistyped option"),
        pytest.param("liteseg-darknet19", 3, {"width": 0.5}, "no option 'width'", id="another model's option"),
        pytest.param(
            "liteseg-mobilenetv2",
            3,
            {"upsampling": "halfpixel"},
            "'align_corners', 'half_pixel'",
            id="a mistyped choice",
        ),
        pytest.param("liteseg-mobilenetv2", 3, {"skips": "yes"}, "skips = 'yes'", id="text for a list"),
        pytest.param("liteseg-mobilenetv2", 3, {"width": 0}, "width = 0", id="no width at all"),
        pytest.param("liteseg-mobilenetv2", 0, {}, "1 to 255", id="no class"),
        pytest.param("liteseg-mobilenetv2", 256, {}, "1 to 255", id="more classes than a class map holds"),
    ],
)
def test_what_cannot_be_made_is_refused(name: str, num_classes: int, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        create_model(name, num_classes=num_classes, **options)
    assert said in str(caught.value)
