"""Networks by name, `<decoder>-<backbone>`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from torch import nn

from edgeseg.errors import UsageError, nearest
from edgeseg.models.backbones import Backbone, EfficientNetLite, MobileNetV2
from edgeseg.models.decoders import LiteSeg
from edgeseg.models.layers import Upsampling

__all__ = ["create_model", "list_models"]

Factory = Callable[..., nn.Module]
WidthMultiplier = Annotated[float, msgspec.Meta(gt=0, le=4)]
_FACTORIES: dict[str, Factory] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Put a factory into the registry under `name`."""

    def add(factory: Factory) -> Factory:
        _FACTORIES[name] = factory
        return factory

    return add


def list_models() -> list[str]:
    """The names that `create_model` knows, sorted."""
    return sorted(_FACTORIES)


def create_model(name: str, *, num_classes: int, **options: Any) -> nn.Module:
    """A network in eval mode with fresh weights: images in, logits at the images' size out.

    Args:
        name: One of `list_models()`.
        num_classes: Channels of the logits, 1 to 255.
        options: Options of that network; without any, the network of its paper.

    Raises:
        UsageError: No such name or option, a value that the option can't take, or a class count out of range.
    """
    if name not in _FACTORIES:
        raise UsageError(f"There is no model '{name}'.", hint=nearest(name, _FACTORIES))
    if not 1 <= num_classes <= 255:
        raise UsageError(
            f"num_classes is {num_classes}; class maps are uint8 and 255 is void, so 1 to 255 is possible."
        )
    factory = _FACTORIES[name]
    return factory(num_classes, **_checked(name, factory, options)).eval()


def _checked(name: str, factory: Factory, options: dict[str, Any]) -> dict[str, Any]:
    """The options, each converted to the type that the factory's keyword of that name asks for."""
    hints = get_type_hints(factory, include_extras=True)
    known = [p.name for p in inspect.signature(factory).parameters.values() if p.kind is p.KEYWORD_ONLY]
    checked = {}
    for option, value in options.items():
        if option not in known:
            raise UsageError(f"Model '{name}' has no option '{option}'.", hint=nearest(option, known))
        try:
            checked[option] = msgspec.convert(value, hints[option])
        except msgspec.ValidationError as error:
            raise UsageError(
                f"Model '{name}' can't take {option} = {value!r}: {error}.", hint=_possible(hints[option])
            ) from error
    return checked


def _possible(hint: Any) -> str:
    return "Possible: " + ", ".join(map(repr, get_args(hint))) + "." if get_origin(hint) is Literal else ""


def _liteseg(backbone: Backbone, num_classes: int, skip16: bool, upsampling: Upsampling) -> LiteSeg:
    return LiteSeg(backbone, num_classes, skip16=skip16, upsampling=upsampling)


@register("liteseg-mobilenetv2")
def liteseg_mobilenetv2(
    num_classes: int, *, width: WidthMultiplier = 1.0, skip16: bool = False, upsampling: Upsampling = "align_corners"
) -> LiteSeg:
    """LiteSeg on MobileNetV2, as in the paper; `width` is the backbone's multiplier."""
    return _liteseg(MobileNetV2(width=width), num_classes, skip16, upsampling)


@register("liteseg-efficientnet-lite0")
def liteseg_efficientnet_lite0(
    num_classes: int, *, skip16: bool = False, upsampling: Upsampling = "align_corners"
) -> LiteSeg:
    """LiteSeg's decoder on the 320-channel map of EfficientNet-Lite0."""
    return _liteseg(EfficientNetLite(), num_classes, skip16, upsampling)
