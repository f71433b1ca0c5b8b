"""Names and published figures of the networks, and the models that edgeseg ships. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeseg.errors import UsageError, nearest

__all__ = ["DEFAULT_MODEL", "NETWORKS", "Network", "Published", "ranges_beside", "zoo_model", "zoo_models"]

#: The shipped model that commands take when none is named.
DEFAULT_MODEL = "liteseg-efficientnet-lite0-camvid"

ZOO = Path(__file__).parent / "zoo"
LITESEG = "LiteSeg (Emara, Abd El Munim, Abbas, DICTA 2019, arXiv 1912.06683)"
MOBILENETV2 = "MobileNetV2 (Sandler et al., CVPR 2018, arXiv 1801.04381)"
EFFICIENTNET = "EfficientNet (Tan, Le, ICML 2019, arXiv 1905.11946)"


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What a paper reports for its own weights.

    Attributes:
        miou: Mean IoU over the classes, 0 to 1.
        gflops: For one frame, as the paper counts them.
        parameters: As the paper counts them; LiteSeg counts the backbone's ImageNet classifier too.
        source: Where it stands.
    """

    data: str
    split: str
    miou: float
    gflops: float
    parameters: int
    source: str


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """One name of `edgeseg.models.create_model`.

    Attributes:
        parameters: Trainable values with 19 classes and no options.
        papers: That describe the network.
        published: Results that papers report for it; empty where no paper has this combination.
    """

    name: str
    parameters: int
    papers: tuple[str, ...]
    published: tuple[Published, ...] = ()


NETWORKS = (
    Network(
        name="liteseg-mobilenetv2",
        parameters=3_101_707,
        papers=(LITESEG, MOBILENETV2),
        published=(
            Published(
                data="Cityscapes",
                split="test",
                miou=0.6781,
                gflops=4.9,
                parameters=4_380_000,
                source="arXiv 1912.06683",
            ),
        ),
    ),
    Network(name="liteseg-efficientnet-lite0", parameters=3_255_883, papers=(LITESEG, EFFICIENTNET)),
)


def zoo_models(folder: Path = ZOO) -> dict[str, Path]:
    """The models that edgeseg ships: ONNX file by name, sorted. Each carries its card."""
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


def zoo_model(name: str, folder: Path = ZOO) -> Path:
    """The ONNX file of a shipped model.

    Raises:
        UsageError: No model of that name is shipped.
    """
    models = zoo_models(folder)
    if name not in models:
        raise UsageError(f"There is no model '{name}'.", hint=f"{nearest(name, models)} See: edgeseg models")
    return models[name]


def ranges_beside(model: Path) -> Path:
    """Where the ranges of a model lie, beside its ONNX file."""
    return model.with_suffix(".ranges.npz")
