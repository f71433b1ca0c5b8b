"""What each decoder does beyond the pairs: sizes, options, refusals, and its paper's parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn
from torch.nn import functional

from edgeseg.errors import UsageError
from edgeseg.models import create_model
from edgeseg.models.backbones import Backbone
from edgeseg.models.decoders import LRASPP, LiteSeg, UNet
from edgeseg.models.decoders.ppliteseg import AttentionFusion, pool_to_bins
from edgeseg.models.layers import Upsampling, upsample
from edgeseg.models.registry import DECODERS

NARROW = {"width": 0.25}


def made(decoder: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return create_model(f"{decoder}-mobilenetv2", num_classes=5, **{**NARROW, **options})


class Maps(Backbone):
    """A backbone of the strides asked for, 4 channels each."""

    def __init__(self, *strides: int) -> None:
        super().__init__()
        self.channels, self.deepest = dict.fromkeys(strides, 4), max(strides)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        return {stride: functional.avg_pool2d(x[:, [0, 1, 2, 0]], stride, ceil_mode=True) for stride in self.channels}


STRIDES: list[tuple[str, dict[str, Any], int]] = [
    ("liteseg", {}, 4),
    ("liteseg", {"detail": 8, "skips": [16, 8]}, 2),
    ("liteseg", {"detail": 8, "low": 8}, 4),
    ("lraspp", {}, 8),
    ("lraspp", {"low": 4, "decoder_width": 24}, 4),
    ("lraspp", {"output_stride": 8}, 8),
    ("deeplabv3plus", {}, 4),
    ("deeplabv3plus", {"low": 8, "low_channels": 12, "decoder_width": 40, "output_stride": 16}, 8),
    ("ppliteseg", {}, 8),
    ("ppliteseg", {"output_stride": 16}, 4),
    ("ppliteseg", {"decoder_channels": [8, 16, 24, 32]}, 4),
    ("ppliteseg", {"decoder_channels": [16, 32], "upsampling": "align_corners"}, 16),
    ("fcn", {}, 32),
    ("fcn", {"decoder_width": 8, "output_stride": 8}, 8),
    ("unet", {}, 2),
    ("unet", {"separable": False, "decoder_width": 4, "output_stride": 8}, 2),
]


@pytest.mark.parametrize(("decoder", "options", "stride"), STRIDES, ids=lambda value: str(value))
@pytest.mark.parametrize("size_hw", [(64, 96), (90, 121), (33, 47)], ids="{0[0]}x{0[1]}".format)
def test_logits_come_at_the_decoders_stride_and_at_the_inputs_size(
    decoder: str, options: dict[str, Any], stride: int, size_hw: tuple[int, int]
) -> None:
    net, (height, width) = made(decoder, **options), size_hw
    image = torch.randn(2, 3, height, width)
    with torch.no_grad():
        low, full = net.forward_low(image), net(image)
    assert low.shape == (2, 5, -(-height // stride), -(-width // stride))
    assert full.shape == (2, 5, height, width)
    assert torch.isfinite(full).all()


@pytest.mark.parametrize("decoder", DECODERS)
def test_only_liteseg_upsamples_as_its_checkpoints_want(decoder: str) -> None:
    assert made(decoder).upsampling == ("align_corners" if decoder == "liteseg" else "half_pixel")


@pytest.mark.parametrize("decoder", [name for name in DECODERS if name != "fcn"])
def test_upsampling_by_stride_is_that_of_half_pixels_where_strides_divide_the_frame(decoder: str) -> None:
    equal = []
    for size in ((64, 96), (71, 105)):
        half_pixel, by_stride = (made(decoder, upsampling=mode) for mode in ("half_pixel", "by_stride"))
        with torch.no_grad():
            image = torch.randn(1, 3, *size)
            equal.append(torch.equal(half_pixel(image), by_stride(image)))
    assert equal == [True, False]


@pytest.mark.parametrize(("mode", "aligned"), [("by_stride", True), ("half_pixel", False), ("align_corners", False)])
def test_upsampling_by_stride_aligns_a_frame_as_if_it_were_filled_up(mode: Upsampling, aligned: bool) -> None:
    torch.manual_seed(0)
    net = UNet(Maps(2, 4, 8, 16, 32), 3, decoder_width=4, upsampling=mode).eval()
    frame = torch.rand(1, 3, 71, 105)
    filled = functional.pad(frame, (0, 128 - 105, 0, 96 - 71))
    with torch.no_grad():
        cut, whole = net.forward_low(frame)[..., :12, :20], net.forward_low(filled)[..., :12, :20]
    assert (float((cut - whole).abs().max() / whole.std((2, 3)).min()) < 1e-3) == aligned


def test_maps_that_are_rounded_down_are_stretched_to_the_frame() -> None:
    net = create_model("unet-darknet19", num_classes=2, decoder_width=4, upsampling="by_stride")
    assert net.upsampling == "half_pixel"
    assert net.eval()(torch.randn(1, 3, 71, 105)).shape == (1, 2, 71, 105)


@pytest.mark.parametrize("factor", [2, 4])
def test_upsampling_by_stride_cuts_off_what_is_too_much(factor: int) -> None:
    ramp = torch.arange(12.0).reshape(1, 1, 12, 1).expand(1, 1, 12, 15)
    whole = upsample(ramp, (12 * factor, 15 * factor), "half_pixel")
    cut = upsample(ramp, (12 * factor - 1, 15 * factor), "by_stride", factor=factor)
    assert torch.equal(cut, whole[:, :, :-1])
    steps = cut[0, 0, factor:-factor, 0].diff()
    assert torch.allclose(steps, torch.full_like(steps, 1 / factor)), "no drift from the first row to the last"
    stretched = upsample(ramp, (12 * factor - 1, 15 * factor), "half_pixel")
    assert float((stretched - cut).abs().max()) > 0.2, "as half pixels have it: a fifth of a cell, eight pixels"
    assert torch.equal(upsample(ramp, (30, 31), "by_stride"), upsample(ramp, (30, 31), "half_pixel"))


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        pytest.param(
            "liteseg-efficientnet-lite0",
            {"skips": [32], "stages": 5},
            "LiteSeg needs the map of stride 32; EfficientNetLite gives strides 2, 4, 8, 16.",
            id="LiteSeg takes in a skip that is cut off",
        ),
        pytest.param(
            "liteseg-darknet19",
            {"low": 32},
            "needs the map of stride 32; DarkNet19 gives strides 2, 4, 8, 16.",
            id="LiteSeg's low-level skip is too deep",
        ),
        pytest.param("liteseg-mobilenetv2", {"skips": [8, 16]}, "skips are [8, 16], but have to fall", id="rising"),
        pytest.param("liteseg-mobilenetv2", {"skips": [32]}, "from below 32, the deepest", id="the deepest again"),
        pytest.param("liteseg-mobilenetv2", {"skips": [16, 4]}, "to above 4, the low-level", id="the low-level again"),
        pytest.param("liteseg-mobilenetv2", {"skips": [2]}, "to above 4, the low-level", id="finer than low-level"),
        pytest.param(
            "liteseg-mobilenetv2",
            {"low": 2, "detail": 8},
            "LiteSeg needs the map of stride 1; MobileNetV2 gives strides 2, 4, 8, 16, 32.",
            id="LiteSeg's detail would come from the image itself",
        ),
        pytest.param(
            "lraspp-mobilenetv2",
            {"low": 16, "output_stride": 8},
            "LRASPP needs the map of stride 16; MobileNetV2 gives strides 2, 4, 8.",
            id="LR-ASPP's low-level map is dilated away",
        ),
        pytest.param(
            "deeplabv3plus-mobilenetv2", {"low": 32, "output_stride": 16}, "gives strides 2, 4, 8, 16.", id="DeepLab's"
        ),
        pytest.param(
            "ppliteseg-mobilenetv2",
            {"output_stride": 8, "decoder_channels": [8, 16, 24, 32]},
            "PPLiteSeg needs 3 maps of finer strides than the deepest, 8; MobileNetV2 gives strides 2, 4, 8.",
            id="PP-LiteSeg fuses more maps than there are",
        ),
        pytest.param("ppliteseg-mobilenetv2", {"decoder_channels": [8]}, "decoder_channels", id="nothing to fuse"),
    ],
)
def test_strides_that_are_not_there_are_refused(model: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        create_model(model, num_classes=3, **options)
    assert said in caught.value.message


def test_a_backbone_may_lack_strides_that_a_decoder_does_not_read() -> None:
    for net, stride in ((LiteSeg(Maps(4, 32), 3), 4), (LRASPP(Maps(8, 16), 3), 8), (UNet(Maps(4, 16, 32), 3), 4)):
        assert net.eval().forward_low(torch.zeros(1, 3, 64, 96)).shape == (1, 3, 64 // stride, 96 // stride)
    with pytest.raises(UsageError, match="UNet needs 1 maps of finer strides than the deepest, 32; Maps gives strides"):
        UNet(Maps(32), 3)


def test_lraspp_gives_what_classifying_after_upsampling_gives() -> None:
    net, image = made("lraspp"), torch.randn(1, 3, 70, 90)
    with torch.no_grad():
        maps = net.features()(image)
        weighed = net.cbr(maps[32]) * net.scale(maps[32])
        expected = net.high_classifier(net.upsample(weighed, maps[8])) + net.low_classifier(maps[8])
        torch.testing.assert_close(net.decode(maps), expected)


@pytest.mark.parametrize(("stride", "rates"), [(8, (12, 24, 36)), (16, (6, 12, 18)), (32, (3, 6, 9))])
def test_deeplab_dilates_by_the_output_stride_as_in_the_paper(stride: int, rates: tuple[int, ...]) -> None:
    aspp = made("deeplabv3plus", output_stride=stride).aspp
    kernels = [module for module in aspp.modules() if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)]
    assert tuple(conv.dilation[0] for conv in kernels) == rates
    assert all(conv.groups == conv.in_channels for conv in kernels)


@pytest.mark.parametrize("bins", [1, 2, 4])
def test_pooling_to_bins_is_adaptive_pooling_at_every_size(bins: int) -> None:
    for height, width in ((1, 1), (2, 3), (3, 4), (4, 8), (5, 7), (12, 15), (16, 32), (17, 2), (45, 60)):
        x = torch.randn(2, 3, height, width)
        torch.testing.assert_close(pool_to_bins(x, bins), functional.adaptive_avg_pool2d(x, bins))


class Remembers(nn.Module):
    """An attention that weighs all places alike and keeps what it saw."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return torch.full_like(x[:, :1], self.weight)


def test_attention_decides_between_the_finer_map_and_what_comes_from_below() -> None:
    torch.manual_seed(0)
    fusion = AttentionFusion(low_channels=6, cin=8, cout=4, upsampling="half_pixel").eval()
    low, high = torch.randn(1, 6, 10, 14), torch.randn(1, 8, 5, 7)
    with torch.no_grad():
        finer, below = fusion.conv_low(low), functional.interpolate(high, size=(10, 14), mode="bilinear")
        for weight, expected in ((1.0, finer), (0.0, below), (0.25, 0.25 * finer + 0.75 * below)):
            fusion.attention = Remembers(weight)
            torch.testing.assert_close(fusion(low, high, 2), fusion.conv_out(expected))
    means_and_peaks = [finer.mean(1), finer.amax(1), below.mean(1), below.amax(1)]
    torch.testing.assert_close(fusion.attention.seen, torch.stack(means_and_peaks, 1))


def test_attention_is_between_none_and_all_at_each_place() -> None:
    torch.manual_seed(0)
    weight = AttentionFusion(6, 8, 4, "half_pixel").attention(torch.randn(2, 4, 10, 14))
    assert weight.shape == (2, 1, 10, 14)
    assert 0 < weight.min() < weight.max() < 1


@pytest.mark.parametrize(
    ("decoder", "parts", "falling"),
    [
        pytest.param("ppliteseg", "fusions", [64, 32], id="PP-LiteSeg's smaller network"),
        pytest.param("unet", "up", [256, 128, 64, 32], id="U-Net"),
    ],
)
def test_channels_fall_on_the_way_up(decoder: str, parts: str, falling: list[int]) -> None:
    norms = [[m for m in part.modules() if isinstance(m, nn.BatchNorm2d)] for part in getattr(made(decoder), parts)]
    assert [part[-1].num_features for part in norms] == falling


def test_unet_has_plain_convolutions_where_asked() -> None:
    def grouped(net: Any) -> list[bool]:
        return [m.groups > 1 for m in net.up.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]

    assert grouped(made("unet")) == [True] * 8
    assert grouped(made("unet", separable=False)) == [False] * 8


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_learns_a_few_scenes_by_heart(decoder: str, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    from edgeseg.data.labelled import open_labelled
    from edgeseg.models import load_weights
    from edgeseg.train.loop import evaluate_network, train
    from edgeseg.train.recipe import Augment, Optimizer, TrainRecipe
    from tests.train.scenes import CLASSES, write_scenes

    for part in ("train", "val"):
        write_scenes(tmp_path / part, 8, seed=1, size_hw=(96, 128))
    options = {**NARROW, "output_stride": 16}
    recipe = TrainRecipe(
        f"{decoder}-mobilenetv2",
        classes=CLASSES,
        data=str(tmp_path),
        options=options,
        backbone_weights="none",
        epochs=60,
        batch=4,
        validate_every=60,
        augment=Augment(crop_hw=(96, 128), scale=(1, 1), flip=0, brightness=0, contrast=0, saturation=0),
        optimizer=Optimizer(backbone_rate=3e-3, warm_up=0.1),
    )
    result = train(recipe, tmp_path / "run")
    net = load_weights(create_model(recipe.model, num_classes=3, **options), result.weights)
    matrix = evaluate_network(net, open_labelled(tmp_path / "train", 3), torch.device("cpu"))
    assert matrix.pixel_accuracy() > 0.9
