"""Checkpoints of other projects load into a backbone by key."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgeseg.models import create_model, load_weights, save_weights
from edgeseg.models.backbones import MobileNetV2, MobileNetV3, ShuffleNet, ShuffleNetV2
from edgeseg.models.checkpoints import adapted


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("features.0.0.weight", "features.0.0.weight"),
        ("features.0.1.running_mean", "features.0.1.running_mean"),
        ("features.1.conv.0.0.weight", "features.1.conv.0.weight"),
        ("features.1.conv.0.1.bias", "features.1.conv.1.bias"),
        ("features.1.conv.1.weight", "features.1.conv.3.weight"),
        ("features.1.conv.2.running_var", "features.1.conv.4.running_var"),
        ("features.2.conv.0.0.weight", "features.2.conv.0.weight"),
        ("features.2.conv.1.0.weight", "features.2.conv.3.weight"),
        ("features.2.conv.1.1.weight", "features.2.conv.4.weight"),
        ("features.2.conv.2.weight", "features.2.conv.6.weight"),
        ("features.2.conv.3.num_batches_tracked", "features.2.conv.7.num_batches_tracked"),
        ("features.18.1.weight", "features.18.1.weight"),
        ("classifier.1.weight", "classifier.1.weight"),
    ],
)
def test_torchvision_nests_the_layers_of_mobilenetv2(theirs: str, ours: str) -> None:
    state = {key: torch.empty(0) for key in torchvision_keys()}
    assert theirs in state
    renamed = adapted(state, MobileNetV2().state_dict())
    assert dict(zip(state, renamed, strict=True))[theirs] == ours


def torchvision_keys() -> list[str]:
    """The keys of torchvision's MobileNetV2, in order."""
    layers = ["features.0.0", "features.0.1"]
    for block in range(1, 18):
        nested = 1 if block == 1 else 2
        layers += [f"features.{block}.conv.{layer}.{part}" for layer in range(nested) for part in (0, 1)]
        layers += [f"features.{block}.conv.{nested}", f"features.{block}.conv.{nested + 1}"]
    layers += ["features.18.0", "features.18.1"]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    keys = [f"{layer}.{name}" for index, layer in enumerate(layers) for name in (norm if index % 2 else ("weight",))]
    return [*keys, "classifier.1.weight", "classifier.1.bias"]


@pytest.mark.parametrize("width", [0.25, 1.0])
def test_mobilenetv2_of_torchvision_loads_into_the_backbone(tmp_path: Path, width: float) -> None:
    values = list(MobileNetV2(width=width).state_dict().values())
    classifier = [torch.zeros(1000, 1280), torch.zeros(1000)]
    torch.save(dict(zip(torchvision_keys(), [*values, *classifier], strict=True)), tmp_path / "mobilenet_v2.pth")
    net = create_model("liteseg-mobilenetv2", num_classes=2, width=width)
    load_weights(net.features(), tmp_path / "mobilenet_v2.pth")
    for value, expected in zip(net.features().state_dict().values(), values, strict=True):
        assert torch.equal(value, expected)


def test_a_flat_mobilenetv2_keeps_its_keys() -> None:
    state = create_model("liteseg-mobilenetv2", num_classes=2, width=0.25).state_dict()
    assert list(adapted(state, state)) == list(state)


@pytest.mark.parametrize(
    ("backbone", "unused"),
    [
        pytest.param(MobileNetV3("small", width=0.25), "classifier.3.weight", id="MobileNetV3 of torchvision"),
        pytest.param(ShuffleNetV2(width=0.5), "fc.weight", id="ShuffleNetV2 of torchvision"),
        pytest.param(ShuffleNet(), "module.fc.weight", id="ShuffleNet from DataParallel"),
    ],
)
def test_an_imagenet_checkpoint_loads_into_the_backbone(tmp_path: Path, backbone: torch.nn.Module, unused: str) -> None:
    path, state = tmp_path / "imagenet.pth", {k: v + 1 for k, v in backbone.state_dict().items()}
    torch.save({**state, unused: torch.zeros(1000, 8)}, path)
    load_weights(backbone, path)
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module."], ids=["never in DataParallel", "as published"])
def test_shufflenet_loads_on_its_own(tmp_path: Path, prefix: str) -> None:
    one, other, path = ShuffleNet(), ShuffleNet(), tmp_path / "shufflenet.safetensors"
    save_weights(one if prefix else one.module, path)
    load_weights(other, path)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
