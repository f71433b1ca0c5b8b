from __future__ import annotations

import json

import pytest

from edgeseg.catalog import NETWORKS, zoo_models
from edgeseg.cli import main


def test_the_table_names_every_network_and_every_shipped_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert all(network.name in printed for network in NETWORKS)
    assert all(name in printed for name in zoo_models())
    assert "67.81 mIoU on Cityscapes test" in printed


def test_the_json_holds_figures_and_cards(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx_ir")
    assert main(["models", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "edgeseg.models/1"
    assert [network["name"] for network in report["networks"]] == [network.name for network in NETWORKS]
    assert report["networks"][0]["published"][0]["miou"] == 0.6781
    assert [model["name"] for model in report["models"]] == list(zoo_models())
    assert all(model["card"]["classes"] for model in report["models"])
