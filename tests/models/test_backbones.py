"""Backbones: the published networks by parameters and keys, and the maps that decoders are promised."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from edgeseg.errors import UsageError
from edgeseg.models import create_model
from edgeseg.models.backbones import DarkNet19
from edgeseg.models.backbones.shufflenet import ShuffleUnit
from edgeseg.models.layers import channel_shuffle
from edgeseg.models.registry import BACKBONES, list_models
from tests.models.reference import drawn


def made(name: str, **options: Any) -> Any:
    """A backbone in eval mode with reproducible weights."""
    backbone = BACKBONES[name](**options).eval()
    backbone.load_state_dict({key: drawn(key, value.shape) for key, value in backbone.state_dict().items()})
    return backbone


def linear(cin: int, cout: int = 1000) -> int:
    return cin * cout + cout


#: backbone, options, parameters of the classifier that is left out, published parameters with it
CLASSIFIERS: list[tuple[str, dict[str, Any], int, int]] = [
    ("mobilenetv1", {}, linear(1024), 4_231_976),
    ("mobilenetv2", {}, linear(1280), 3_504_872),
    ("mobilenetv3-small", {}, linear(576, 1024) + linear(1024), 2_542_856),
    ("mobilenetv3-large", {}, linear(960, 1280) + linear(1280), 5_483_032),
    ("shufflenetv2", {"width": 0.5}, linear(1024), 1_366_792),
    ("shufflenetv2", {}, linear(1024), 2_278_604),
    ("shufflenetv2", {"width": 1.5}, linear(1024), 3_503_624),
    ("shufflenetv2", {"width": 2.0}, linear(2048), 7_393_996),
    ("efficientnet-lite0", {}, 320 * 1280 + 2 * 1280 + linear(1280), 4_652_008),
    ("efficientnet-lite1", {}, 320 * 1280 + 2 * 1280 + linear(1280), 5_416_680),
    ("efficientnet-lite2", {}, 352 * 1280 + 2 * 1280 + linear(1280), 6_092_072),
]


@pytest.mark.parametrize(("name", "options", "classifier", "published"), CLASSIFIERS, ids=str)
def test_parameters_are_those_of_the_published_network(
    name: str, options: dict[str, Any], classifier: int, published: int
) -> None:
    assert sum(p.numel() for p in BACKBONES[name](**options).parameters()) + classifier == published


@pytest.mark.parametrize(("width", "millions"), [(0.75, 2.6), (0.5, 1.3), (0.25, 0.5)])
def test_narrow_mobilenetv1_has_the_parameters_of_the_paper(width: float, millions: float) -> None:
    count = sum(p.numel() for p in BACKBONES["mobilenetv1"](width=width).parameters())
    assert round((count + linear(int(1024 * width))) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("width", "millions"), [(0.35, 1.66), (0.5, 1.95), (0.75, 2.61), (1.0, 3.47), (1.3, 5.34), (1.4, 6.06)]
)
def test_mobilenetv2_has_the_parameters_of_its_released_widths(width: float, millions: float) -> None:
    """Those that TensorFlow's table of checkpoints tells, which leaves out the normalization."""
    backbone = BACKBONES["mobilenetv2"](width=width)
    count = sum(module.weight.numel() for module in backbone.modules() if isinstance(module, nn.Conv2d))
    assert round((count + linear(backbone.channels[32])) / 1e6, 2) == millions


#: Keys of torchvision, where each stands for one of its nestings.
TORCHVISION: list[tuple[str, int, dict[str, tuple[int, ...]]]] = [
    (
        "mobilenetv3-small",
        240,
        {
            "features.0.0.weight": (16, 3, 3, 3),
            "features.0.1.running_var": (16,),
            "features.1.block.0.0.weight": (16, 1, 3, 3),
            "features.1.block.1.fc1.weight": (8, 16, 1, 1),
            "features.1.block.1.fc2.bias": (16,),
            "features.1.block.2.0.weight": (16, 16, 1, 1),
            "features.4.block.1.0.weight": (96, 1, 5, 5),
            "features.4.block.2.fc1.bias": (24,),
            "features.11.block.3.1.weight": (96,),
            "features.12.0.weight": (576, 96, 1, 1),
        },
    ),
    (
        "mobilenetv3-large",
        308,
        {
            "features.1.block.1.0.weight": (16, 16, 1, 1),
            "features.2.block.0.0.weight": (64, 16, 1, 1),
            "features.2.block.2.1.bias": (24,),
            "features.4.block.2.fc1.weight": (24, 72, 1, 1),
            "features.13.block.1.0.weight": (672, 1, 5, 5),
            "features.15.block.2.fc2.weight": (960, 240, 1, 1),
            "features.16.0.weight": (960, 160, 1, 1),
            "features.16.1.num_batches_tracked": (),
        },
    ),
    (
        "shufflenetv2",
        336,
        {
            "conv1.0.weight": (24, 3, 3, 3),
            "conv1.1.running_mean": (24,),
            "stage2.0.branch1.0.weight": (24, 1, 3, 3),
            "stage2.0.branch1.2.weight": (58, 24, 1, 1),
            "stage2.0.branch1.3.bias": (58,),
            "stage2.0.branch2.0.weight": (58, 24, 1, 1),
            "stage2.3.branch2.0.weight": (58, 58, 1, 1),
            "stage3.7.branch2.3.weight": (116, 1, 3, 3),
            "stage4.3.branch2.6.weight": (232,),
            "conv5.0.weight": (1024, 464, 1, 1),
            "conv5.1.running_var": (1024,),
        },
    ),
]


@pytest.mark.parametrize(("name", "count", "keys"), TORCHVISION, ids=[name for name, *_ in TORCHVISION])
def test_keys_are_those_of_torchvision(name: str, count: int, keys: dict[str, tuple[int, ...]]) -> None:
    state = BACKBONES[name]().state_dict()
    assert {key: tuple(state[key].shape) for key in keys if key in state} == keys
    assert len(state) == count


PLAIN = sorted(set(BACKBONES) - {"darknet19"})
CHANNELS = {
    "mobilenetv1": {2: 64, 4: 128, 8: 256, 16: 512, 32: 1024},
    "mobilenetv2": {2: 16, 4: 24, 8: 32, 16: 96, 32: 1280},
    "mobilenetv3-small": {2: 16, 4: 16, 8: 24, 16: 48, 32: 576},
    "mobilenetv3-large": {2: 16, 4: 24, 8: 40, 16: 112, 32: 960},
    "shufflenet": {2: 24, 4: 24, 8: 384, 16: 768, 32: 1536},
    "shufflenetv2": {2: 24, 4: 24, 8: 116, 16: 232, 32: 1024},
    "darknet19": {2: 64, 4: 128, 8: 256, 16: 1024},
    "efficientnet-lite0": {2: 16, 4: 24, 8: 40, 16: 112, 32: 320},
}


@pytest.mark.parametrize("name", CHANNELS)
def test_maps_of_the_published_network_have_its_channels(name: str) -> None:
    assert BACKBONES[name]().channels == CHANNELS[name]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("name", BACKBONES)
def test_each_map_has_the_channels_and_the_size_of_its_stride(name: str, output_stride: int) -> None:
    backbone = BACKBONES[name](output_stride=output_stride).eval()
    strides = [stride for stride in (2, 4, 8, 16, 32) if stride <= output_stride]
    assert (sorted(backbone.channels), backbone.deepest) == (strides, output_stride)
    for height, width in ((64, 96), (90, 121), (33, 47)):
        with torch.no_grad():
            maps = backbone(torch.zeros(2, 3, height, width))
        up = 0 if name == "darknet19" else 1
        for stride in strides:
            size = [(side + up * (stride - 1)) // stride for side in (height, width)]
            assert list(maps[stride].shape) == [2, backbone.channels[stride], *size]
        assert sorted(maps) == strides


@pytest.mark.parametrize("output_stride", [8, *(pytest.param(stride, marks=pytest.mark.slow) for stride in (16, 32))])
@pytest.mark.parametrize("name", list_models())
def test_every_network_is_made_at_every_output_stride(name: str, output_stride: int) -> None:
    with torch.device("meta"):
        net = create_model(name, num_classes=3, output_stride=output_stride).eval()
        assert net(torch.zeros(1, 3, 64, 96)).shape == (1, 3, 64, 96)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", PLAIN)
def test_a_dilated_network_gives_the_values_of_the_plain_one_and_those_between(name: str, output_stride: int) -> None:
    plain, dilated = made(name), made(name, output_stride=output_stride)
    for key, value in itertools.chain(plain.named_parameters(), dilated.named_parameters()):
        if ".fc2.weight" in key:
            value.data.zero_()  # The means of squeeze-and-excite differ between the maps.
    pixels = torch.rand(1, 3, 90, 121, generator=torch.Generator().manual_seed(0))
    step = 32 // output_stride
    with torch.no_grad():
        expected, maps = plain(pixels), dilated(pixels)
    sampled = maps[output_stride][:, :, ::step, ::step]
    assert float((sampled - expected[32]).norm() / expected[32].norm()) < 1e-5
    assert torch.equal(maps[4], expected[4])


@pytest.mark.parametrize(
    ("output_stride", "expected"),
    [
        pytest.param(
            16,
            {13: (1, 1), 14: (1, 1), 17: (1, 1), 19: (2, 1), 20: (2, 1), 21: (2, 1), 22: (2, 0), 23: (2, 1)},
            id="as published",
        ),
        pytest.param(
            8,
            {13: (2, 2), 14: (2, 1), 17: (2, 2), 19: (4, 3), 20: (4, 1), 21: (4, 3), 22: (4, 0), 23: (4, 3)},
            id="dilated twice as much",
        ),
        pytest.param(
            32,
            {13: (1, 1), 14: (1, 0), 17: (1, 1), 19: (1, 1), 20: (1, 0), 21: (1, 1), 22: (1, 0), 23: (1, 1)},
            id="DarkNet19 itself",
        ),
    ],
)
def test_darknet19_grows_and_shrinks_its_map_at_the_published_layers(
    output_stride: Any, expected: dict[int, tuple[int, int]]
) -> None:
    layers = DarkNet19(output_stride=output_stride).layers
    convs = {number: layers.get_submodule(f"{number}_convbatch.layers.0") for number in expected}
    assert {n: (conv.dilation[0], conv.padding[0]) for n, conv in convs.items()} == expected


def test_channels_are_dealt_out_in_turns() -> None:
    shuffled = channel_shuffle(torch.arange(6).view(1, 6, 1, 1), 2)
    assert shuffled.flatten().tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("dilation", [1, 2])
def test_the_means_of_shufflenet_count_zeros_beyond_the_border(dilation: int) -> None:
    unit = ShuffleUnit(24, 384, stride=1, dilation=dilation, compress_groups=1).eval()
    with torch.no_grad():
        means = unit(torch.ones(1, 24, 5, 5))[0, :24]
    assert means[:, 2, 2].tolist() == pytest.approx([1] * 24)
    assert means[:, 0, 0].tolist() == pytest.approx([4 / 9] * 24)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        pytest.param("liteseg-darknet19", {"output_stride": 4}, "8, 16, 32", id="a stride that no backbone has"),
        pytest.param("liteseg-shufflenetv2", {"width": 0.7}, "multiple of 0.5", id="a width between the paper's"),
        pytest.param("liteseg-shufflenet", {"width": 0.5}, "no option 'width'", id="a width where there is one only"),
    ],
)
def test_options_that_a_backbone_lacks_are_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        create_model(name, num_classes=2, **options)
    assert said in str(caught.value)
