"""LiteSeg: the authors' network, bit by bit, and its options."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgeseg.models import create_model, load_weights
from tests.models.reference import DATA, Checkpoint, published_keys, published_state
from tests.models.transcript import darknet, liteseg, shufflenet

#: name, authors' checkpoint, ImageNet classifier that it carries along, million parameters in the paper with it
PUBLISHED: list[tuple[str, Checkpoint, str, float]] = [
    ("liteseg-mobilenetv2", "mobilenet", ".classifier.", 4.38),
    ("liteseg-shufflenet", "shufflenet", ".fc.", 3.51),
    ("liteseg-darknet19", "darknet", ".classifier.", 20.55),
]
published = pytest.mark.parametrize(
    ("name", "checkpoint", "classifier", "millions"), PUBLISHED, ids=[name for name, *_ in PUBLISHED]
)


def loaded(name: str, checkpoint: Checkpoint, folder: Path) -> Any:
    path = folder / "published.pth"
    torch.save(published_state(checkpoint), path)
    net = load_weights(create_model(name, num_classes=19), path)
    path.unlink()
    return net


def noise() -> Any:
    return torch.from_numpy(np.random.default_rng(7).normal(0, 1, (1, 3, 192, 320)).astype(np.float32))


def test_mobilenetv2_gives_the_logits_of_the_published_network(tmp_path: Path) -> None:
    expected = np.load(DATA / "liteseg_mobilenet_logits.npz")["logits"]
    with torch.no_grad():
        logits = loaded("liteseg-mobilenetv2", "mobilenet", tmp_path)(noise()).numpy()[:, :, ::4, ::4]
    assert np.linalg.norm(logits - expected) / np.linalg.norm(expected) < 1e-4


@pytest.mark.parametrize(
    ("name", "checkpoint", "backbone"),
    [("liteseg-shufflenet", "shufflenet", shufflenet), ("liteseg-darknet19", "darknet", darknet)],
    ids=["shufflenet", "darknet19"],
)
def test_the_others_give_those_of_a_second_writing(
    tmp_path: Path, name: str, checkpoint: Checkpoint, backbone: Any
) -> None:
    with torch.no_grad():
        logits = loaded(name, checkpoint, tmp_path)(noise())
        expected = liteseg(published_state(checkpoint), noise(), backbone)
    assert float((logits - expected).norm() / expected.norm()) < 1e-5


@published
def test_keys_shapes_and_parameters_are_the_published_ones_in_order(
    name: str, checkpoint: Checkpoint, classifier: str, millions: float
) -> None:
    net = create_model(name, num_classes=19)
    own = {k: list(v.shape) for k, v in net.state_dict().items()}
    keys = published_keys(checkpoint)
    assert list(own.items()) == [(k, shape) for k, shape in keys.items() if classifier not in k]
    unused = sum(math.prod(shape) for k, shape in keys.items() if classifier in k)
    assert round((sum(p.numel() for p in net.parameters()) + unused) / 1e6, 2) == millions


NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("liteseg-mobilenetv2", {}),
    ("liteseg-mobilenetv2", {"width": 0.35}),
    ("liteseg-mobilenetv2", {"width": 1.4, "skips": [16]}),
    ("liteseg-efficientnet-lite0", {}),
    ("liteseg-efficientnet-lite0", {"skips": [16], "upsampling": "half_pixel"}),
    ("liteseg-mobilenetv1", {"width": 0.25}),
    ("liteseg-mobilenetv3-small", {"output_stride": 16}),
    ("liteseg-shufflenetv2", {"width": 0.5}),
]


@pytest.mark.parametrize(("name", "options"), NETWORKS, ids=lambda value: str(value))
@pytest.mark.parametrize("size_hw", [(64, 96), (90, 121), (33, 47)], ids="{0[0]}x{0[1]}".format)
def test_logits_have_the_size_of_the_input(name: str, options: dict[str, Any], size_hw: tuple[int, int]) -> None:
    net = create_model(name, num_classes=5, **options)
    height, width = size_hw
    with torch.no_grad():
        pixels = torch.zeros(2, 3, height, width)
        low, full = net.forward_low(pixels), net(pixels)
    assert full.shape == (2, 5, height, width)
    assert low.shape == (2, 5, -(-height // 4), -(-width // 4))


def test_the_width_multiplier_changes_the_channels_as_in_the_paper() -> None:
    narrow, paper = (create_model("liteseg-mobilenetv2", num_classes=2, width=w).mobile_features for w in (0.5, 1.0))
    assert paper.channels == {2: 16, 4: 24, 8: 32, 16: 96, 32: 1280}
    assert narrow.channels == {2: 8, 4: 16, 8: 16, 16: 48, 32: 1280}


def test_upsampling_changes_the_logits_of_the_same_weights() -> None:
    weights = {key: value for key, value in published_state().items() if ".classifier." not in key}
    pixels = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (1, 3, 64, 64)).astype(np.float32))
    logits = []
    for upsampling in ("align_corners", "half_pixel"):
        net = create_model("liteseg-mobilenetv2", num_classes=19, upsampling=upsampling)
        net.load_state_dict(weights)
        with torch.no_grad():
            logits.append(net(pixels))
    assert float((logits[0] - logits[1]).norm() / logits[0].norm()) > 0.01
