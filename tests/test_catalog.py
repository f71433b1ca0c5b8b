from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.catalog import (
    BACKBONE_PAPERS,
    COUNTED,
    DECODER_PAPERS,
    DEFAULT_MODEL,
    NETWORKS,
    PUBLISHED,
    Network,
    ranges_beside,
    zoo_model,
    zoo_models,
)
from edgeseg.errors import UsageError

REGENERATE = "count anew: make catalogue"

#: Of each decoder and each backbone at least one network.
SOME = [network for index, network in enumerate(NETWORKS) if index % (len(BACKBONE_PAPERS) + 1) == 0] + [
    network for network in NETWORKS if network.decoder == "lraspp"
]


def test_the_networks_are_those_that_can_be_created() -> None:
    pytest.importorskip("torch")
    from edgeseg.models import list_models

    assert [network.name for network in NETWORKS] == list_models(), REGENERATE


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_the_parameters_are_those_of_the_network(network: Network) -> None:
    torch = pytest.importorskip("torch")
    from edgeseg.models import create_model

    with torch.device("meta"):
        net = create_model(network.name, num_classes=COUNTED.num_classes)
    assert sum(parameter.numel() for parameter in net.parameters()) == network.parameters, REGENERATE


@pytest.mark.parametrize("network", SOME, ids=lambda network: network.name)
def test_the_multiply_adds_are_those_of_the_network(network: Network) -> None:
    pytest.importorskip("torch")
    from edgeseg.models.costs import count_network

    assert count_network(network.name).macs == network.macs, REGENERATE


def test_some_networks_have_every_part() -> None:
    assert {network.decoder for network in SOME} == set(DECODER_PAPERS)
    assert {network.backbone for network in SOME} == set(BACKBONE_PAPERS)


def test_every_pair_of_a_decoder_and_a_backbone_with_a_paper_is_a_network() -> None:
    pairs = {(network.decoder, network.backbone) for network in NETWORKS}
    assert pairs == {(decoder, backbone) for decoder in DECODER_PAPERS for backbone in BACKBONE_PAPERS}
    assert set(PUBLISHED) <= pairs
    assert all(network.name == f"{network.decoder}-{network.backbone}" for network in NETWORKS)


@pytest.mark.parametrize(
    ("name", "papers", "miou"),
    [
        pytest.param("liteseg-mobilenetv2", ["LiteSeg", "MobileNetV2"], [0.6781], id="of two papers, with a result"),
        pytest.param("unet-mobilenetv2", ["U-Net", "MobileNetV2"], [], id="that no paper has"),
        pytest.param("lraspp-mobilenetv3-large", ["MobileNetV3"], [], id="of one paper"),
    ],
)
def test_a_network_has_the_papers_of_its_parts(name: str, papers: list[str], miou: list[float]) -> None:
    network = next(network for network in NETWORKS if network.name == name)
    assert [paper.split()[0] for paper in network.papers] == papers
    assert [published.miou for published in network.published] == miou


def test_a_shipped_model_is_found_by_its_name(tmp_path: Path) -> None:
    for name in ("b-net", "a-net"):
        (tmp_path / f"{name}.onnx").write_bytes(b"graph")
    (tmp_path / "a-net.ranges.npz").write_bytes(b"ranges")
    assert list(zoo_models(tmp_path)) == ["a-net", "b-net"]
    assert zoo_model("b-net", tmp_path) == tmp_path / "b-net.onnx"
    assert ranges_beside(tmp_path / "a-net.onnx") == tmp_path / "a-net.ranges.npz"


def test_a_misspelt_model_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "liteseg-camvid.onnx").write_bytes(b"graph")
    with pytest.raises(UsageError, match="no model 'litseg-camvid'") as caught:
        zoo_model("litseg-camvid", tmp_path)
    assert "liteseg-camvid" in caught.value.hint


def test_the_default_model_is_shipped_with_its_ranges_and_its_card() -> None:
    pytest.importorskip("onnx_ir")
    from edgeseg.graph.io import graph_card, load_graph

    path = zoo_model(DEFAULT_MODEL)
    assert ranges_beside(path).is_file()
    card = graph_card(load_graph(path))
    assert card is not None and card.model == DEFAULT_MODEL
    assert card.network in {network.name for network in NETWORKS}
