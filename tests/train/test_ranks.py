"""Several processes under torchrun: one batch shared, one report, one set of files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgeseg.errors import UsageError
from edgeseg.models import create_model, load_weights
from edgeseg.train.batches import split_frames, training_batches
from edgeseg.train.ranks import Ranks
from edgeseg.train.recipe import Augment, TrainRecipe
from tests.train.scenes import CLASSES, write_data_set

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ["-m", "edgeseg", "train", "tiny.toml", "-o", "run", "--device", "cpu", "--json"]

#: Each process's gradient of its share of a batch beside the whole batch's.
GRADIENTS = """
import os
import torch
from torch import nn
from edgeseg.train.ranks import Ranks

class Error(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x, y):
        return (self.layer(x) - y).square().mean()

torch.manual_seed(0)
ranks, objective, x, y = Ranks(torch.device("cpu"), 4), Error(), torch.rand(4, 3), torch.rand(4, 2)
whole, = torch.autograd.grad(objective(x, y), objective.layer.weight)
mine, = torch.autograd.grad(objective(x[ranks.rank :: 2], y[ranks.rank :: 2]), objective.layer.weight)
shares = ranks.share(objective)
shares(x[ranks.rank :: 2], y[ranks.rank :: 2]).backward()
shared = objective.layer.weight.grad
os.write(1, f"{torch.allclose(shared, whole)} {torch.allclose(mine, whole)}\\n".encode())  # in one piece
ranks.close()
"""


def torchrun(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--standalone"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, *words], cwd=folder, env=environment, text=True, stdout=-1, stderr=-1, start_new_session=True
    )


def write_recipe(folder: Path, epochs: int) -> None:
    data = write_data_set(folder / "scenes", training=8)
    folder.joinpath("tiny.toml").write_text(
        f'model = "liteseg-mobilenetv2"\nclasses = "{CLASSES}"\ndata = "{data}"\nbackbone_weights = "none"\n'
        f"epochs = {epochs}\nbatch = 4\n[options]\nwidth = 0.25\n[augment]\ncrop_hw = [32, 48]\n"
        "[optimizer]\nema = 0.9\n[loss]\naux_strides = [8]\n"
    )


@pytest.mark.slow
def test_two_processes_train_stop_together_and_go_on(tmp_path: Path) -> None:
    write_recipe(tmp_path, epochs=30)
    run = torchrun(tmp_path, *TRAIN)
    history = tmp_path / "run" / "history.jsonl"
    deadline = time.monotonic() + 120
    while not history.exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=120)
    assert history.exists(), told
    assert (tmp_path / "run" / "last.ckpt").exists(), told

    done = len(history.read_text().splitlines())
    assert 0 < done < 30
    again = torchrun(tmp_path, *TRAIN, "--resume")
    printed, told = again.communicate(timeout=240)
    assert again.returncode == 0, told
    report = json.loads(printed)
    assert (report["epochs"], report["interrupted"]) == (30, False)
    epochs = [json.loads(line) for line in history.read_text().splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, 31)), "each epoch is written by one process"
    assert epochs[-1]["loss"] < 0.8 * epochs[0]["loss"]
    net = create_model("liteseg-mobilenetv2", num_classes=3, width=0.25)
    load_weights(net, tmp_path / report["weights"])


def test_the_gradient_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    tmp_path.joinpath("gradients.py").write_text(GRADIENTS)
    printed, told = torchrun(tmp_path, "gradients.py").communicate(timeout=120)
    assert printed.splitlines() == 2 * ["True False"], told


def test_the_processes_share_every_batch(tmp_path: Path) -> None:
    data = write_data_set(tmp_path, training=7)
    recipe = TrainRecipe("any", classes=CLASSES, data=str(data), epochs=2, batch=4, augment=Augment(crop_hw=(16, 24)))
    frames, _ = split_frames(recipe)
    whole = list(training_batches(recipe, frames, first=0, workers=0))
    shares = [list(training_batches(recipe, frames, first=0, workers=0, rank=r, ranks=2)) for r in range(2)]
    for batch, one, other in zip(whole, *shares, strict=True):
        for all_of_it, *parts in zip(batch, one, other, strict=True):
            assert torch.equal(all_of_it[0::2], parts[0])
            assert torch.equal(all_of_it[1::2], parts[1])


@pytest.mark.parametrize("batch", [2, 5], ids=["one frame each", "no equal shares"])
def test_a_batch_that_cannot_be_shared_is_refused(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=f"batch of {batch} can't be shared by 2") as caught:
        Ranks(torch.device("cpu"), batch)
    assert "of 4 at least" in caught.value.hint
