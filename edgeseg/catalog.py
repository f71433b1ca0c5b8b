"""The networks with what they cost and what papers report of them, and the models that edgeseg ships.

Needs no torch: what the networks cost was counted before, see `edgeseg/models/costs.py`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeseg.errors import UsageError, nearest

__all__ = [
    "BACKBONE_PAPERS",
    "COSTS_FILE",
    "COUNTED",
    "DECODER_PAPERS",
    "DEFAULT_MODEL",
    "NETWORKS",
    "Cost",
    "Costs",
    "Network",
    "Published",
    "ranges_beside",
    "zoo_model",
    "zoo_models",
]

#: The shipped model that commands take when none is named.
DEFAULT_MODEL = "liteseg-efficientnet-lite0-camvid"

ZOO = Path(__file__).parent / "zoo"
COSTS_FILE = Path(__file__).parent / "networks.json"

EFFICIENTNET = "EfficientNet (Tan, Le, ICML 2019, arXiv 1905.11946)"
MOBILENETV3 = "MobileNetV3 and LR-ASPP (Howard et al., ICCV 2019, arXiv 1905.02244)"
#: The paper of each decoder and of each backbone.
DECODER_PAPERS = {
    "deeplabv3plus": "DeepLab v3+ (Chen et al., ECCV 2018, arXiv 1802.02611)",
    "fcn": "FCN (Long, Shelhamer, Darrell, CVPR 2015, arXiv 1411.4038)",
    "liteseg": "LiteSeg (Emara, Abd El Munim, Abbas, DICTA 2019, arXiv 1912.06683)",
    "lraspp": MOBILENETV3,
    "ppliteseg": "PP-LiteSeg (Peng et al., 2022, arXiv 2204.02681)",
    "unet": "U-Net (Ronneberger, Fischer, Brox, MICCAI 2015, arXiv 1505.04597)",
}
BACKBONE_PAPERS = {
    "darknet19": "YOLO9000 (Redmon, Farhadi, CVPR 2017, arXiv 1612.08242)",
    "efficientnet-lite0": EFFICIENTNET,
    "efficientnet-lite1": EFFICIENTNET,
    "efficientnet-lite2": EFFICIENTNET,
    "mobilenetv1": "MobileNets (Howard et al., 2017, arXiv 1704.04861)",
    "mobilenetv2": "MobileNetV2 (Sandler et al., CVPR 2018, arXiv 1801.04381)",
    "mobilenetv3-large": MOBILENETV3,
    "mobilenetv3-small": MOBILENETV3,
    "shufflenet": "ShuffleNet (Zhang et al., CVPR 2018, arXiv 1707.01083)",
    "shufflenetv2": "ShuffleNet V2 (Ma et al., ECCV 2018, arXiv 1807.11164)",
}


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one network costs: trainable values, and multiply-adds of convolutions and matrix products for a frame."""

    parameters: int
    macs: int


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the networks cost, by name, without options, with that many classes, and for a frame of that size."""

    num_classes: int
    size_hw: tuple[int, int]
    networks: dict[str, Cost]


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What a paper reports for its own weights.

    Attributes:
        miou: Mean IoU over the classes, 0 to 1.
        gflops: For one frame, as the paper counts them.
        parameters: As the paper counts them; LiteSeg's has the ImageNet classifiers of MobileNetV2 and ShuffleNet too.
        source: Where it stands.
    """

    data: str
    split: str
    miou: float
    gflops: float
    parameters: int
    source: str


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """One name of `edgeseg.models.create_model`, without options.

    Attributes:
        parameters: Trainable values, counted with the classes that `COUNTED` tells.
        macs: Multiply-adds for one frame of the size that `COUNTED` tells.
        papers: That describe the network: the decoder's and the backbone's, or one that has both.
        published: Results that papers report for it; empty where no paper has this combination.
    """

    name: str
    decoder: str
    backbone: str
    parameters: int
    macs: int
    papers: tuple[str, ...]
    published: tuple[Published, ...] = ()


def _liteseg(miou: float, gflops: float, parameters: int) -> tuple[Published]:
    """What the LiteSeg paper reports of one backbone."""
    source = "arXiv 1912.06683"
    return (Published(data="Cityscapes", split="test", miou=miou, gflops=gflops, parameters=parameters, source=source),)


#: What papers report, by decoder and backbone.
PUBLISHED = {
    ("liteseg", "darknet19"): _liteseg(0.7075, 103.09, 20_550_000),
    ("liteseg", "mobilenetv2"): _liteseg(0.6781, 4.9, 4_380_000),
    ("liteseg", "shufflenet"): _liteseg(0.6517, 2.75, 3_510_000),
}


def _network(name: str, cost: Cost) -> Network:
    decoder, _, backbone = name.partition("-")
    return Network(
        name=name,
        decoder=decoder,
        backbone=backbone,
        parameters=cost.parameters,
        macs=cost.macs,
        papers=tuple(dict.fromkeys((DECODER_PAPERS[decoder], BACKBONE_PAPERS[backbone]))),
        published=PUBLISHED.get((decoder, backbone), ()),
    )


#: What was counted, and with what classes and size.
COUNTED = msgspec.json.decode(COSTS_FILE.read_bytes(), type=Costs)
#: All networks, sorted by name.
NETWORKS = tuple(_network(name, cost) for name, cost in COUNTED.networks.items())


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
