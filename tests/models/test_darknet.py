"""Darknet's weights files, written here value by value as the framework writes them."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgeseg.errors import ModelFileError
from edgeseg.models import create_model, load_weights
from edgeseg.models.backbones import DarkNet19

#: Values of DarkNet19's normalized convolutions, running statistics too, and of its ImageNet classifier.
BACKBONE, CLASSIFIER = 19_831_776, 1_025_000
OLD, NEW = struct.pack("<4i", 0, 1, 0, 7), struct.pack("<3iq", 0, 2, 5, 7)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a file of 80 MB is not kept."""
    path = tmp_path / "darknet19.weights"
    yield path
    path.unlink(missing_ok=True)


def convolutions(net: DarkNet19) -> list[tuple[torch.nn.Conv2d, torch.nn.BatchNorm2d]]:
    layers = [module.layers for name, module in net.layers.named_children() if name.endswith("convbatch")]
    return [(layer[0], layer[1]) for layer in layers]


def written(net: DarkNet19) -> bytes:
    """The values of a network in Darknet's order."""
    parts = []
    for conv, norm in convolutions(net):
        parts += [norm.bias, norm.weight, norm.running_mean, norm.running_var, conv.weight]
    return b"".join(part.detach().numpy().astype("<f4").tobytes() for part in parts)


@pytest.mark.parametrize(
    ("header", "classifier"),
    [
        pytest.param(OLD, 0, id="version 0.1, cut off after layer 23"),
        pytest.param(NEW, CLASSIFIER, id="version 0.2, with the ImageNet classifier"),
    ],
)
def test_each_value_comes_to_its_place(
    path: Path, caplog: pytest.LogCaptureFixture, header: bytes, classifier: int
) -> None:
    theirs = DarkNet19()
    for index, (_, norm) in enumerate(convolutions(theirs)):
        for offset, values in enumerate((norm.bias, norm.weight, norm.running_mean, norm.running_var)):
            values.data = torch.arange(values.numel()) + (10 * index + offset) / 256
    path.write_bytes(header + written(theirs) + bytes(4 * classifier))
    net = create_model("liteseg-darknet19", num_classes=2)
    with caplog.at_level(logging.INFO, "edgeseg"):
        load_weights(net.features(), path)
    assert ("classifier.weight" in caplog.text) == (classifier > 0)
    own = net.features().state_dict()
    assert all(torch.equal(own[key], value) for key, value in theirs.state_dict().items())


@pytest.mark.parametrize(
    ("head", "values", "said"),
    [
        pytest.param(b"", 0, "end within the header: 0 bytes", id="an empty file"),
        pytest.param(NEW[:11], 0, "end within the header: 11 bytes", id="half a version"),
        pytest.param(NEW[:12], 0, "of another network, or truncated: 0 bytes follow", id="a version alone"),
        pytest.param(b"PK\x03\x04" * 5, 100, "no Darknet file: its version would be", id="torch's archive"),
        pytest.param(struct.pack("<3iq", -1, 2, 5, 0), 100, r"would be -1\.2\.5", id="a negative version"),
        pytest.param(NEW, BACKBONE - 1, "truncated: 79327100 bytes follow", id="one value short"),
        pytest.param(NEW + b"\0", BACKBONE - 1, "truncated", id="cut off within a value"),
        pytest.param(OLD, BACKBONE + 1, "of another network, or truncated", id="one value too many"),
        pytest.param(NEW, BACKBONE + CLASSIFIER - 1, "of another network", id="a classifier cut off"),
        pytest.param(NEW, BACKBONE + CLASSIFIER + 5, "with its ImageNet classifier", id="more after the classifier"),
    ],
)
def test_a_file_that_is_not_darknet19_is_refused(path: Path, head: bytes, values: int, said: str) -> None:
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(len(head) + 4 * values)
    with pytest.raises(ModelFileError, match=said):
        load_weights(DarkNet19(), path)
