"""Networks by name, `<decoder>-<backbone>`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from edgeseg.errors import UsageError, nearest
from edgeseg.models.backbones import (
    Backbone,
    DarkNet19,
    EfficientNetLite,
    MobileNetV1,
    MobileNetV2,
    MobileNetV3,
    ShuffleNet,
    ShuffleNetV2,
)
from edgeseg.models.decoders import FCN, LRASPP, DeepLabV3Plus, LiteSeg, PPLiteSeg, Segmenter, UNet

__all__ = ["create_model", "list_models"]

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "mobilenetv1": MobileNetV1,
    "mobilenetv2": MobileNetV2,
    "mobilenetv3-small": partial(MobileNetV3, "small"),
    "mobilenetv3-large": partial(MobileNetV3, "large"),
    "shufflenet": ShuffleNet,
    "shufflenetv2": ShuffleNetV2,
    "darknet19": DarkNet19,
    "efficientnet-lite0": partial(EfficientNetLite, 0),
    "efficientnet-lite1": partial(EfficientNetLite, 1),
    "efficientnet-lite2": partial(EfficientNetLite, 2),
}
DECODERS: dict[str, Callable[..., Segmenter]] = {
    "liteseg": LiteSeg,
    "lraspp": LRASPP,
    "deeplabv3plus": DeepLabV3Plus,
    "ppliteseg": PPLiteSeg,
    "fcn": FCN,
    "unet": UNet,
}
#: Options that differ from the decoder's own where a paper or its authors' checkpoint says so.
PUBLISHED: dict[str, dict[str, Any]] = {
    "liteseg-shufflenet": {"low": 8, "low_channels": 48},
    "liteseg-darknet19": {"low_channels": 32},
}


def list_models() -> list[str]:
    """The names that `create_model` knows, sorted."""
    return sorted(f"{decoder}-{backbone}" for decoder in DECODERS for backbone in BACKBONES)


def create_model(name: str, *, num_classes: int, **options: Any) -> Segmenter:
    """A network in eval mode with fresh weights: images in, logits at the images' size out.

    Args:
        name: One of `list_models()`.
        num_classes: Channels of the logits, 1 to 255.
        options: Options of the backbone and the decoder; without any, as their docstrings say.

    Raises:
        UsageError: No such name or option, a value that the option can't take, or a class count out of range.
    """
    if name not in list_models():
        meant = nearest(name, list_models())
        parts = f"Possible: DECODER-BACKBONE of {', '.join(DECODERS)} and {', '.join(BACKBONES)}."
        raise UsageError(f"There is no model '{name}'.", hint=parts if meant.startswith("Possible") else meant)
    if not 1 <= num_classes <= 255:
        raise UsageError(
            f"num_classes is {num_classes}; class maps are uint8 and 255 is void, so 1 to 255 is possible.",
            hint="Merge classes, or name them by --classes.",
        )
    decoder_name, backbone_name = name.split("-", 1)
    backbone, decoder = BACKBONES[backbone_name], DECODERS[decoder_name]
    options = _checked(name, options, _options(backbone) | _options(decoder))
    own = {key: options.pop(key) for key in _options(backbone) if key in options}
    return decoder(backbone(**own), num_classes, **PUBLISHED.get(name, {}) | options).eval()


def _options(factory: Callable[..., Any]) -> dict[str, Any]:
    """The keywords that a backbone or a decoder takes, with the types that they ask for."""
    made = factory.func if isinstance(factory, partial) else factory
    hints = get_type_hints(made.__init__, include_extras=True)
    parameters = inspect.signature(made.__init__).parameters.values()
    return {p.name: hints[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY}


def _checked(name: str, options: dict[str, Any], hints: dict[str, Any]) -> dict[str, Any]:
    """The options, each converted to the type that its keyword asks for."""
    checked = {}
    for option, value in options.items():
        if option not in hints:
            raise UsageError(f"Model '{name}' has no option '{option}'.", hint=nearest(option, list(hints)))
        try:
            checked[option] = msgspec.convert(value, hints[option])
        except msgspec.ValidationError as error:
            raise UsageError(
                f"Model '{name}' can't take {option} = {value!r}: {error}.", hint=_possible(hints[option])
            ) from error
    return checked


def _possible(hint: Any) -> str:
    return "Possible: " + ", ".join(map(repr, get_args(hint))) + "." if get_origin(hint) is Literal else ""
