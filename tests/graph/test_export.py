"""From torch to ONNX, compared before it is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

#: Exporting a whole network takes most of a minute; tests of pairs export small ones at every run.
pytestmark = pytest.mark.slow

from edgeseg.build.checkpoint import export_checkpoint
from edgeseg.build.recipe import BuildRecipe
from edgeseg.errors import EdgesegError, UsageError
from edgeseg.graph.export import export_onnx, relative_error
from edgeseg.graph.io import graph_card, load_graph, save_graph
from edgeseg.graph.prepare import prepare_graph
from edgeseg.graph.verify import verify_prepared
from edgeseg.models import create_model, save_weights
from tests.graph.test_prepare import scene

OPTIONS = {"width": 0.25, "upsampling": "half_pixel"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow LiteSeg with random weights whose statistics fit, exported."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    net = create_model("liteseg-mobilenetv2", num_classes=3, **OPTIONS).train()
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(2, 3, 96, 96))
    recipe = {"model": "liteseg-mobilenetv2", "classes": "a,b,c"}
    training = {"recipe": recipe, "size_hw": [64, 96], "made_from": {"teacher": "0123"}}
    save_weights(net, folder / "w.safetensors", {"training": json.dumps(training)})
    graph = export_checkpoint(BuildRecipe(model=str(folder / "w.safetensors")), options=OPTIONS)
    save_graph(graph, folder / "net.onnx")
    return folder / "net.onnx"


def test_the_graph_is_free_in_size_and_carries_its_card(exported: Path) -> None:
    graph = load_graph(exported)
    card = graph_card(graph)
    assert card is not None
    assert (card.network, card.classes, card.size_hw) == ("liteseg-mobilenetv2", ("a", "b", "c"), (64, 96))
    assert (card.options, card.upsampling) == (OPTIONS, "half_pixel")
    assert set(card.made_from) == {"weights", "teacher"}
    assert [str(dim) for dim in graph.graph.inputs[0].shape] == ["N", "3", "H", "W"]
    assert (graph.opset_imports[""], graph.ir_version) == (17, 10)


@pytest.mark.parametrize("size", [(64, 96), (90, 121)], ids=["multiples of 32", "odd sizes"])
def test_it_is_prepared_for_any_size(exported: Path, size: tuple[int, int]) -> None:
    graph = load_graph(exported)
    card = graph_card(graph)
    assert card is not None
    prepared = prepare_graph(graph, card, size_hw=size)
    assert verify_prepared(graph, card, prepared, scene(*size)) >= 0.999
    assert not {node.op_type for node in prepared.graph} & {"Shape", "BatchNormalization", "ReduceMean"}


def test_a_network_that_exports_wrong_is_refused(monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    graph = load_graph(exported)
    card = graph_card(graph)
    assert card is not None
    net = create_model("liteseg-mobilenetv2", num_classes=3, **OPTIONS)
    assert relative_error(net, graph, (1, 3, 64, 96)) > 1e-2
    weight = next(net.parameters())
    original = torch.onnx.export

    def disturbed(*args: object, **options: object) -> object:
        program = original(*args, **options)
        with torch.no_grad():
            weight.mul_(1.5)
        return program

    monkeypatch.setattr(torch.onnx, "export", disturbed)
    with pytest.raises(EdgesegError, match="differs from the network"):
        export_onnx(net, card)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that another trainer wrote: nothing but tensors by key."""
    path = tmp_path_factory.mktemp("foreign") / "w.pth"
    torch.save(create_model("lraspp-mobilenetv2", num_classes=3).state_dict(), path)
    return path


NETWORK = {"network": "lraspp-mobilenetv2", "classes": "a,b,c"}
TRAINED = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize(
    ("said", "lacks", "hint"),
    [
        pytest.param({}, "does not say which network", "--network", id="nothing"),
        pytest.param(NETWORK, "preprocessing can't be known", "--mean", id="no preprocessing"),
    ],
)
def test_what_foreign_weights_do_not_say_has_to_be_said(foreign: Path, said: Any, lacks: str, hint: str) -> None:
    with pytest.raises(UsageError, match=lacks) as refusal:
        export_checkpoint(BuildRecipe(model=str(foreign), **said))
    assert hint in refusal.value.hint


def test_foreign_weights_get_the_frames_that_they_were_trained_on(foreign: Path) -> None:
    card = graph_card(export_checkpoint(BuildRecipe(model=str(foreign), **NETWORK, **TRAINED, channels="bgr")))
    assert card is not None
    assert card.preprocess.channels == "bgr"
    assert card.preprocess.mean == pytest.approx([255 * value for value in TRAINED["mean"]])
    assert card.preprocess.std == pytest.approx([255 * value for value in TRAINED["std"]])


def test_weights_that_edgeseg_trained_need_no_preprocessing(exported: Path) -> None:
    with pytest.raises(UsageError, match=r"was trained by edgeseg.*--mean, --std can't be given"):
        export_checkpoint(BuildRecipe(model=str(exported.with_name("w.safetensors")), **TRAINED))


def test_scenes_have_contrast() -> None:
    assert np.std(scene()) > 50
