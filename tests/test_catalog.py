from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.catalog import DEFAULT_MODEL, NETWORKS, Network, ranges_beside, zoo_model, zoo_models
from edgeseg.errors import UsageError


def test_the_networks_are_those_that_can_be_created() -> None:
    pytest.importorskip("torch")
    from edgeseg.models import list_models

    assert sorted(network.name for network in NETWORKS) == list_models()


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_the_parameters_are_those_of_the_network(network: Network) -> None:
    pytest.importorskip("torch")
    from edgeseg.models import create_model

    net = create_model(network.name, num_classes=19)
    assert sum(parameter.numel() for parameter in net.parameters()) == network.parameters


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
