"""Weights files: loaded by key, never run, refused with what does not fit."""

from __future__ import annotations

import logging
import math
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgeseg.errors import ModelFileError
from edgeseg.models import create_model, load_weights, save_weights
from edgeseg.models.weights import read_state_dict
from tests.models.reference import published_state


@pytest.fixture
def net() -> Any:
    torch.manual_seed(3)
    return create_model("liteseg-mobilenetv2", num_classes=3, width=0.25)


def fresh() -> Any:
    torch.manual_seed(4)
    return create_model("liteseg-mobilenetv2", num_classes=3, width=0.25)


def assert_same_weights(one: Any, other: Any) -> None:
    assert list(one.state_dict()) == list(other.state_dict())
    for (key, value), second in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(value, second), key


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda state: state, id="a plain state dict"),
        pytest.param(lambda state: {f"module.{k}": v for k, v in state.items()}, id="saved from DataParallel"),
        pytest.param(lambda state: {f"_orig_mod.{k}": v for k, v in state.items()}, id="saved from a compiled network"),
        pytest.param(lambda state: {"state_dict": state, "epoch": 7}, id="beside the epoch, as state_dict"),
        pytest.param(lambda state: {"model": state, "optimizer": {"lr": 0.1}}, id="beside the optimizer, as model"),
        pytest.param(
            lambda state: {"state_dict": {f"model.module.{k}": v for k, v in state.items()}},
            id="of a network that a training script calls model, from DataParallel",
        ),
        pytest.param(
            lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
            id="from before batches were counted",
        ),
    ],
)
@pytest.mark.parametrize("new_format", [True, False], ids=["zip format", "format before torch 1.6"])
def test_checkpoints_load_by_key(
    net: Any, tmp_path: Path, wrap: Callable[[dict[str, Any]], dict[str, Any]], new_format: bool
) -> None:
    path = tmp_path / "net.pth"
    torch.save(wrap(net.state_dict()), path, _use_new_zipfile_serialization=new_format)
    assert_same_weights(load_weights(fresh(), path), net)


def test_safetensors_come_back_as_they_were(net: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(net, path, {"note": "kept"})
    assert_same_weights(load_weights(fresh(), path), net)


def test_the_unused_classifier_is_dropped_with_a_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "published.pth"
    state = published_state()
    torch.save(state, path)
    with caplog.at_level(logging.INFO, "edgeseg"):
        net = load_weights(create_model("liteseg-mobilenetv2", num_classes=19), path)
    assert "mobile_features.classifier.1.weight" in caplog.text
    own = net.state_dict()
    assert list(own) == [key for key in state if ".classifier." not in key]
    assert all(torch.equal(own[key], state[key]) for key in own)


class WritesMarker:
    """An object whose unpickling writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("through_torch", [True, False], ids=["inside torch's archive", "as a bare pickle"])
def test_a_pickle_with_code_is_refused_and_the_code_not_run(tmp_path: Path, through_torch: bool) -> None:
    path, marker = tmp_path / "net.pth", tmp_path / "marker"
    content = {"last_conv.6.bias": torch.zeros(3), "extra": WritesMarker(marker)}
    if through_torch:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps({"extra": WritesMarker(marker)}, protocol=2))
    with pytest.raises(ModelFileError, match="could not be read"):
        load_weights(fresh(), path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(WritesMarker(marker)))
    assert marker.exists(), "the pickle would have written the marker"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99], ids="{:.0%} of the file".format)
def test_a_truncated_file_is_refused(net: Any, tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save(net.state_dict(), path)
    else:
        save_weights(net, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelFileError, match="could not be read"):
        load_weights(fresh(), path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no weights file at .*absent\.pth"):
        read_state_dict(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param([1, 2], "hold a list", id="a list"),
        pytest.param({"epoch": 3, "best": 0.5}, "no tensors by key; found epoch, best", id="numbers only"),
        pytest.param({}, "no tensors by key; found nothing", id="an empty one"),
    ],
)
def test_a_file_without_tensors_by_key_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "net.pth"
    torch.save(content, path)
    with pytest.raises(ModelFileError, match=said):
        read_state_dict(path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused(net: Any, tmp_path: Path, value: float) -> None:
    path, other = tmp_path / "net.safetensors", fresh()
    before = {key: tensor.clone() for key, tensor in other.state_dict().items()}
    net.state_dict()["bn1.running_var"][3] = value
    save_weights(net, path)
    with pytest.raises(ModelFileError, match=r"not numbers, in: bn1\.running_var"):
        load_weights(other, path)
    assert all(torch.equal(tensor, before[key]) for key, tensor in other.state_dict().items())


@pytest.mark.parametrize("cut", ["", "module."], ids=["as published", "with every 'module.' cut out of the keys"])
def test_the_shufflenet_of_liteseg_loads_whole_and_alone(tmp_path: Path, cut: str) -> None:
    torch.manual_seed(3)
    whole, path = create_model("liteseg-shufflenet", num_classes=3), tmp_path / "net.pth"
    renamed = {key.replace(cut, ""): value for key, value in whole.state_dict().items()}
    torch.save(renamed, path)
    torch.manual_seed(4)
    assert_same_weights(load_weights(create_model("liteseg-shufflenet", num_classes=3), path), whole)
    prefix = f"{whole.prefix}."
    torch.save({key.removeprefix(prefix): value for key, value in renamed.items() if key.startswith(prefix)}, path)
    alone = load_weights(create_model("fcn-shufflenet", num_classes=3).features(), path)
    assert_same_weights(alone, whole.features())


def test_another_class_count_is_refused(net: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(net, path)
    other = create_model("liteseg-mobilenetv2", num_classes=5, width=0.25)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with pytest.raises(ModelFileError, match="are for 3 classes, the network has 5") as caught:
        load_weights(other, path)
    assert "new_head = true" in caught.value.hint
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())


@pytest.mark.parametrize(
    ("options", "anew"),
    [
        pytest.param({"num_classes": 5}, ("last_conv.6.",), id="another number of classes"),
        pytest.param({"num_classes": 3, "detail": 8}, ("narrow.", "detail."), id="a further stage"),
        pytest.param({"num_classes": 3, "skips": [16]}, ("mix.",), id="a further skip"),
    ],
)
def test_a_decoder_that_differs_begins_anew_where_it_does_if_asked(
    net: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, options: dict[str, Any], anew: tuple[str, ...]
) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(net, path)
    other = create_model("liteseg-mobilenetv2", width=0.25, **options)
    expected = {
        key: value.clone() if key.startswith(anew) else net.state_dict()[key]
        for key, value in other.state_dict().items()
    }
    with pytest.raises(ModelFileError):
        load_weights(other, path)
    with caplog.at_level("INFO"):
        load_weights(other, path, new_head=True)
    for key, value in other.state_dict().items():
        assert torch.equal(value, expected[key]), key
    assert anew[0] in caplog.text


def test_a_new_head_is_no_excuse_for_another_backbone(net: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(net, path)
    with pytest.raises(ModelFileError, match="do not fit"):
        load_weights(create_model("liteseg-mobilenetv1", num_classes=3), path, new_head=True)


def bare(name: str, **options: Any) -> dict[str, Any]:
    return dict(create_model(f"fcn-{name}", num_classes=3, **options).features().state_dict())


@pytest.mark.parametrize(
    ("state", "said"),
    [
        pytest.param(
            lambda: create_model("liteseg-efficientnet-lite0", num_classes=3).state_dict(),
            "The nearest is 'liteseg-efficientnet-lite0' (",
            id="another backbone",
        ),
        pytest.param(
            lambda: create_model("liteseg-mobilenetv2", num_classes=3, width=0.5).state_dict(),
            "'liteseg-mobilenetv2' (390 of 390 keys, but",
            id="another width",
        ),
        pytest.param(
            lambda: create_model("unet-mobilenetv2", num_classes=3).state_dict(),
            "'unet-mobilenetv2' (410 of 410 keys)",
            id="another decoder",
        ),
        pytest.param(
            lambda: create_model("liteseg-efficientnet-lite1", num_classes=3, width=0.5).state_dict(),
            "'liteseg-efficientnet-lite1' (456 of 456 keys, but",
            id="a network that holds all keys of a shallower one",
        ),
        pytest.param(
            lambda: {**bare("mobilenetv3-small"), "classifier.0.weight": torch.zeros(1)},
            "the backbone 'mobilenetv3-small' alone (",
            id="a backbone with its ImageNet classifier",
        ),
        pytest.param(
            lambda: bare("mobilenetv2", width=0.5),
            "the backbone 'mobilenetv2' alone (312 of 312 keys, but",
            id="a backbone of another width",
        ),
        pytest.param(
            lambda: {f"net.{key}": value for key, value in bare("mobilenetv3-small").items()},
            "the backbone 'mobilenetv3-small' alone (",
            id="a backbone below another name",
        ),
        pytest.param(
            lambda: {"fc.weight": torch.zeros(2)}, "No network of edgeseg has such keys", id="nothing like it"
        ),
    ],
)
def test_the_network_that_the_weights_are_of_is_named(tmp_path: Path, state: Callable[[], Any], said: str) -> None:
    path = tmp_path / "net.pth"
    torch.save(state(), path)
    with pytest.raises(ModelFileError) as caught:
        load_weights(create_model("liteseg-mobilenetv2", num_classes=3, width=0.25), path, new_head=True)
    assert said in caught.value.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda state: state.pop("bn1.bias"), "lack: bn1.bias", id="a key is missing"),
        pytest.param(
            lambda state: state.update({"head.bias": torch.zeros(1)}), "unknown keys: head.bias", id="a key too many"
        ),
        pytest.param(
            lambda state: state.update({"head.bias": state.pop("bn1.bias")}),
            "lack: bn1.bias; they have unknown keys: head.bias",
            id="a key of another name",
        ),
        pytest.param(
            lambda state: state.update({"classifier.weight": torch.zeros(1)}),
            "unknown keys: classifier.weight",
            id="the classifier of another decoder, which is none of ImageNet's",
        ),
    ],
)
def test_other_keys_are_refused_by_name(net: Any, tmp_path: Path, change: Callable[[Any], Any], said: str) -> None:
    path, state = tmp_path / "net.pth", net.state_dict()
    change(state)
    torch.save(state, path)
    with pytest.raises(ModelFileError, match=said):
        load_weights(fresh(), path)


def test_keys_are_told_as_the_file_has_them(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(bare("mobilenetv3-small"), path)
    with pytest.raises(ModelFileError, match=r"unknown keys: features\.0\.") as caught:
        load_weights(create_model("fcn-shufflenet", num_classes=3).features(), path)
    assert "the backbone 'mobilenetv3-small' alone" in caught.value.hint
