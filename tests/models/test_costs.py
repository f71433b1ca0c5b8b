"""What networks cost, counted here layer by layer, and the file that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")

from edgeseg.catalog import Cost, Costs
from edgeseg.errors import UsageError
from edgeseg.models import costs, create_model
from edgeseg.models.costs import count_network, write_costs


def layer_by_layer(name: str, num_classes: int, size_hw: tuple[int, int]) -> int:
    """Multiply-adds of all convolutions: for each value of the output as many as its group's kernel has."""
    macs = 0

    def count(layer: Any, _: object, output: Any) -> None:
        nonlocal macs
        height, width = layer.kernel_size
        macs += output.numel() * (layer.in_channels // layer.groups) * height * width

    with torch.device("meta"):
        net, frame = create_model(name, num_classes=num_classes), torch.zeros(1, 3, *size_hw)
    layers = [layer for layer in net.modules() if not list(layer.children()) and list(layer.parameters())]
    assert {type(layer) for layer in layers} == {torch.nn.Conv2d, torch.nn.BatchNorm2d}
    for layer in layers:
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        net(frame)
    return macs


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("liteseg-mobilenetv2", id="depthwise and dilated"),
        pytest.param("liteseg-shufflenet", id="groups"),
        pytest.param("lraspp-mobilenetv3-small", id="squeeze and excite"),
    ],
)
@pytest.mark.parametrize(("num_classes", "size_hw"), [(19, (64, 96)), (2, (33, 47))])
def test_costs_are_those_of_the_layers(name: str, num_classes: int, size_hw: tuple[int, int]) -> None:
    found = count_network(name, num_classes=num_classes, size_hw=size_hw)
    assert found.macs == layer_by_layer(name, num_classes, size_hw) > 0


def test_parameters_are_the_trainable_values() -> None:
    net = create_model("liteseg-mobilenetv2", num_classes=3)
    trainable = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    assert count_network("liteseg-mobilenetv2", num_classes=3, size_hw=(32, 32)).parameters == trainable


def test_the_file_holds_all_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["liteseg-mobilenetv2", "liteseg-shufflenet"]
    monkeypatch.setattr(costs, "list_models", lambda: names)
    monkeypatch.setattr(costs, "count_network", lambda name: Cost(parameters=len(name), macs=7))
    write_costs(tmp_path / "networks.json")
    found = msgspec.json.decode((tmp_path / "networks.json").read_bytes(), type=Costs)
    assert found == Costs(19, (360, 640), {name: Cost(len(name), 7) for name in names})


@pytest.mark.parametrize("name", ["liteseg-unheard", "unheard-mobilenetv2"])
def test_a_part_without_a_paper_is_told_before_anything_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "list_models", lambda: [name])
    with pytest.raises(UsageError, match=name) as caught:
        write_costs(tmp_path / "networks.json")
    assert "edgeseg/catalog.py" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
