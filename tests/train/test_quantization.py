"""Quantization-aware training: the rounding is that of an engine, and only training sees it."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from edgeseg.models import create_model
from edgeseg.models.registry import DECODERS
from edgeseg.train.precision import keep_depthwise_in_float
from edgeseg.train.quantization import quantize_convolutions, round_activations, round_weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("low", "high"),
    [
        pytest.param(0.0, 6.0, id="behind ReLU6"),
        pytest.param(-3.0, 5.0, id="of both signs"),
        pytest.param(1.0, 2.0, id="far from zero, which stays among the steps"),
        pytest.param(-4.0, -3.0, id="all negative"),
    ],
)
def test_activations_fall_on_256_steps(low: float, high: float, dtype: torch.dtype) -> None:
    x = torch.linspace(low, high, 3000).reshape(1, 3, 10, 100).to(dtype)
    rounded = round_activations(x)
    step = (max(high, 0) - min(low, 0)) / 255
    steps = rounded.float().numpy() / step
    assert rounded.dtype == dtype
    # bfloat16 has eight significant bits, so that up to half of the last step is lost.
    near = 1e-3 if dtype == torch.float32 else 0.51
    assert np.abs(steps - steps.round()).max() < near
    assert (rounded - x).abs().max() <= step * (0.5 + near)
    assert not round_activations(torch.zeros(2, 2)).any()


def test_weights_have_a_scale_for_each_output_channel() -> None:
    weight = torch.randn(5, 4, 3, 3) * torch.tensor([1e-3, 1.0, 1e3, 0.0, 2.0]).reshape(-1, 1, 1, 1)
    steps = round_weights(weight).flatten(1) / (weight.abs().flatten(1).amax(1, keepdim=True) / 127).clamp(min=1e-30)
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert steps.abs().amax(1).round().tolist() == [127, 127, 127, 0, 127]


def test_gradients_pass_as_if_nothing_was_rounded() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    round_activations(x).pow(2).sum().backward()
    assert torch.equal(x.grad, 2 * round_activations(x.detach()))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_only_training_rounds_and_not_the_classifier(precision: str) -> None:
    net = create_model("liteseg-efficientnet-lite0", num_classes=3, width=0.25)
    plain, pixels = copy.deepcopy(net), torch.randn(2, 3, 64, 64)
    if precision == "bf16":
        keep_depthwise_in_float(net)
    quantize_convolutions(net)
    assert list(net.state_dict()) == list(plain.state_dict())
    noise: dict[str, float] = {}
    convs = {name: conv for name, conv in net.named_modules() if isinstance(conv, nn.Conv2d)}
    for name, conv in convs.items():
        conv.register_forward_hook(partial(hear_noise, noise, name, plain.get_submodule(name)))
    with torch.no_grad():
        assert torch.equal(net.eval()(pixels), plain.eval()(pixels))
        assert set(noise.values()) == {0.0}
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            net.train()(pixels)
    exact = [name for name, share in noise.items() if share == 0]
    assert [convs[name].out_channels for name in exact] == [3], "the classifier"
    assert max(noise.values()) < 0.01


def hear_noise(noise: dict[str, float], name: str, plain: Any, conv: Any, inputs: Any, output: Any) -> None:
    """Note the power of what a convolution answers beside the truth, as a share of that."""
    truth = plain(inputs[0].to(output.dtype)).float()
    noise[name] = float((output.float() - truth).pow(2).sum() / truth.pow(2).sum())


def test_pixels_are_read_as_they_are() -> None:
    net = create_model("liteseg-efficientnet-lite0", num_classes=3, width=0.25)
    first = net.features().stem[0]
    with torch.no_grad():
        first.weight.copy_(torch.randint(-126, 127, first.weight.shape)).view(len(first.weight), -1)[:, 0] = 127
    plain, pixels = copy.deepcopy(first), torch.randn(2, 3, 16, 16)
    quantize_convolutions(net)
    assert type(first).__name__ == "QuantizedConv2d"
    assert torch.equal(first(pixels), plain(pixels))


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_classifiers_alone_stay_in_float(decoder: str) -> None:
    """Also where the count of classes is that of other channels: two are those of PP-LiteSeg's attention."""
    net = create_model(f"{decoder}-mobilenetv3-small", num_classes=2, width=0.5)
    quantize_convolutions(net)
    convs = {name: conv for name, conv in net.named_modules() if isinstance(conv, nn.Conv2d)}
    floats = [name for name, conv in convs.items() if type(conv) is nn.Conv2d]
    assert len(floats) == (2 if decoder == "lraspp" else 1)
    assert all(convs[name].out_channels == 2 and not name.startswith(net.prefix) for name in floats)
