"""Training: reproducible, stopped and resumed at the very batch, and safe on a full disk."""

from __future__ import annotations

import json
import math
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")

from edgeseg.build.checkpoint import training_of
from edgeseg.errors import EdgesegError, MissingDependency, ModelFileError, UsageError
from edgeseg.models import create_model, load_weights, save_weights
from edgeseg.models.weights import read_state_dict
from edgeseg.train.loop import Progress, train
from edgeseg.train.ranks import Ranks, open_device
from edgeseg.train.recipe import Distillation, Optimizer, TrainRecipe
from tests.train.scenes import CLASSES, write_data_set

STEPS = 3


@pytest.fixture(scope="module")
def straight(recipe: TrainRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run without interruption."""
    out = tmp_path_factory.mktemp("straight")
    train(recipe, out)
    return out


def stop_after(steps: int) -> Callable[[], bool]:
    """A stop that says yes when it is asked for the `steps`-th time."""
    asked = iter(range(1, 1000))
    return lambda: next(asked) == steps


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("history.jsonl", "best.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    first, second = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, other))
    states = [json.loads(checkpoint["state"]) for checkpoint in (first, second)]
    assert all(state.pop("seconds") > 0 for state in states)
    assert states[0] == states[1]
    for part in ("objective", "averaged"):
        for key, value in first[part].items():
            assert torch.equal(value, second[part][key]), f"{part}: {key}"


def test_the_same_seed_gives_the_same_weights(recipe: TrainRecipe, straight: Path, tmp_path: Path) -> None:
    train(recipe, tmp_path)
    assert_same_run(straight, tmp_path)


def test_another_seed_gives_other_weights(recipe: TrainRecipe, straight: Path, tmp_path: Path) -> None:
    train(msgspec.structs.replace(recipe, seed=1), tmp_path)
    assert (straight / "best.safetensors").read_bytes() != (tmp_path / "best.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("asked", "step"),
    [
        pytest.param(1, 1, marks=pytest.mark.slow, id="within the first epoch"),
        pytest.param(3, 3, marks=pytest.mark.slow, id="before the first validation"),
        pytest.param(4, 3, id="after the first validation"),
        pytest.param(7, 6, id="before the last validation"),
    ],
)
def test_a_stopped_run_goes_on_as_if_it_never_stopped(
    recipe: TrainRecipe, straight: Path, tmp_path: Path, asked: int, step: int
) -> None:
    first = train(recipe, tmp_path, stop=stop_after(asked))
    assert first.interrupted
    assert json.loads(torch.load(first.checkpoint, weights_only=True)["state"])["step"] == step
    assert not train(recipe, tmp_path, resume=True).interrupted
    assert_same_run(straight, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_quantization_aware_run_goes_on_likewise(
    recipe: TrainRecipe, straight: Path, tmp_path: Path, precision: str
) -> None:
    recipe = msgspec.structs.replace(
        recipe, quantization_aware=True, precision=precision, backbone_weights=str(straight / "best.safetensors")
    )
    assert not train(recipe, tmp_path / "whole").interrupted
    assert train(recipe, tmp_path / "parts", stop=stop_after(2)).interrupted
    assert not train(recipe, tmp_path / "parts", resume=True).interrupted
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    plain = msgspec.structs.replace(recipe, quantization_aware=False)
    train(plain, tmp_path / "plain")
    losses = [[epoch["loss"] for epoch in history(tmp_path / name)] for name in ("whole", "plain")]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.3)


def test_what_a_run_leaves_behind(recipe: TrainRecipe, straight: Path) -> None:
    epochs = history(straight)
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    assert all(set(epoch["class_iou"]) == set(CLASSES.split(",")) for epoch in epochs)
    net = load_weights(create_model(recipe.model, num_classes=3, **recipe.options), straight / "best.safetensors")
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())
    assert sorted(path.name for path in straight.iterdir()) == ["best.safetensors", "history.jsonl", "last.ckpt"]


def test_progress_counts_every_step_and_training_learns(recipe: TrainRecipe, tmp_path: Path) -> None:
    seen: list[Progress] = []
    longer = msgspec.structs.replace(recipe, epochs=8)
    result = train(longer, tmp_path, on_progress=seen.append)
    assert [p.step for p in seen] == list(range(1, 8 * STEPS + 1))
    assert seen[STEPS - 1].last is None
    assert seen[STEPS].last is not None
    means = [sum(p.loss for p in seen if p.epoch == epoch) / STEPS for epoch in range(1, 9)]
    assert [epoch["loss"] for epoch in history(tmp_path)] == pytest.approx(means)
    assert sum(p.loss for p in seen[-STEPS:]) < 0.7 * sum(p.loss for p in seen[:STEPS])
    assert result.best is not None
    assert result.best.miou == max(epoch["miou"] for epoch in history(tmp_path))


def test_a_full_disk_leaves_the_older_checkpoint_whole(recipe: TrainRecipe, tmp_path: Path) -> None:
    train(recipe, tmp_path, stop=stop_after(4))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            train(recipe, tmp_path, resume=True, stop=stop_after(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert not train(recipe, tmp_path, resume=True).interrupted


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("before", "changes", "error", "said"),
    [
        pytest.param(Path.unlink, {}, UsageError, "nothing to resume", id="no checkpoint"),
        pytest.param(cut, {}, ModelFileError, "can't be read", id="a damaged checkpoint"),
        pytest.param(None, {"batch": 3}, UsageError, "batch was 2 and is 3", id="another batch size"),
        pytest.param(
            None,
            {"optimizer": Optimizer(rate=1e-4, warm_up=0.2, ema=0.9)},
            UsageError,
            r"otherwise: optimizer\.rate was 0\.003 and is 0\.0001\.",
            id="another rate alone",
        ),
    ],
)
def test_what_cannot_be_resumed_is_refused(
    recipe: TrainRecipe,
    tmp_path: Path,
    before: Callable[[Path], None] | None,
    changes: dict[str, Any],
    error: type[EdgesegError],
    said: str,
) -> None:
    train(recipe, tmp_path, stop=stop_after(1))
    if before is not None:
        before(tmp_path / "last.ckpt")
    with pytest.raises(error, match=said):
        train(msgspec.structs.replace(recipe, **changes), tmp_path, resume=True)


def test_a_run_is_not_resumed_on_other_data(recipe: TrainRecipe, tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "data", training=7)
    own = msgspec.structs.replace(recipe, data=str(data))
    train(own, tmp_path / "run", stop=stop_after(1))
    (data / "train" / "images" / "000.png").unlink()
    with pytest.raises(UsageError, match="the number of training frames was 7 and is 6"):
        train(own, tmp_path / "run", resume=True)


@pytest.mark.parametrize("left", ["best.safetensors", "last.ckpt", "history.jsonl"])
def test_a_folder_with_a_run_is_not_overwritten(recipe: TrainRecipe, tmp_path: Path, left: str) -> None:
    (tmp_path / left).write_bytes(b"of an older run")
    with pytest.raises(UsageError, match=f"holds a run already: {left}"):
        train(recipe, tmp_path)
    assert (tmp_path / left).read_bytes() == b"of an older run"


def test_another_teacher_under_the_same_name_is_noticed(recipe: TrainRecipe, straight: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.safetensors"
    teacher.write_bytes((straight / "best.safetensors").read_bytes())
    own = msgspec.structs.replace(recipe, distillation=Distillation(str(teacher)))
    train(own, tmp_path / "run", stop=stop_after(1))
    net = load_weights(create_model(recipe.model, num_classes=3, **recipe.options), teacher)
    with torch.no_grad():
        next(net.parameters()).mul_(2)
    save_weights(net, teacher, {"training": json.dumps(training_of(straight / "best.safetensors"))})
    with pytest.raises(UsageError, match="the hash of teacher was"):
        train(own, tmp_path / "run", resume=True)


def test_frames_are_trained_and_validated_at_the_size_asked_for(recipe: TrainRecipe, tmp_path: Path) -> None:
    result = train(msgspec.structs.replace(recipe, imgsz=(32, 40), epochs=1), tmp_path)
    assert training_of(result.weights)["size_hw"] == [32, 40]


def test_a_diverged_run_ends_with_a_word_on_the_rates(recipe: TrainRecipe, tmp_path: Path) -> None:
    wild = msgspec.structs.replace(recipe, optimizer=Optimizer(rate=1e30, backbone_rate=1e30))
    with pytest.raises(EdgesegError, match=r"not a number any more|The loss is (nan|inf)") as caught:
        train(wild, tmp_path)
    assert "rates" in caught.value.hint


@pytest.mark.parametrize("step", [STEPS, 2 * STEPS], ids=["the last of an epoch", "the last of the run"])
@pytest.mark.parametrize("what", ["gradient", "weight"])
def test_a_broken_step_is_never_saved(
    recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, what: str
) -> None:
    """The step is broken where nothing comes after it that would show it in the loss."""
    taken, genuine = iter(range(1, 100)), torch.optim.AdamW.step

    def broken(optimizer: Any, *rest: Any) -> Any:
        result = genuine(optimizer, *rest)
        if next(taken) == step:
            optimizer.param_groups[1]["params"][0].data.view(-1)[0] = math.nan
        return result

    def poison(gradient: Any) -> Any:
        return torch.full_like(gradient, math.inf) if next(taken) == step else gradient

    if what == "weight":
        monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    else:
        genuine_share = Ranks.share

        def share(self: Ranks, objective: Any) -> Any:
            next(iter(objective.parameters())).register_hook(poison)
            return genuine_share(self, objective)

        monkeypatch.setattr(Ranks, "share", share)
    with pytest.raises(EdgesegError, match=r"not a number any more|the gradient's norm"):
        train(msgspec.structs.replace(recipe, keep="last"), tmp_path)
    for path in tmp_path.glob("best.safetensors"):
        assert all(torch.isfinite(value).all() for value in read_state_dict(path).values())
    assert len(history(tmp_path)) == step // STEPS - 1 if (tmp_path / "history.jsonl").exists() else step == STEPS


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_an_absent_gpu_is_a_missing_dependency() -> None:
    with pytest.raises(MissingDependency, match="'cuda:0' can't be used"):
        open_device("cuda")


def test_an_unknown_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no device 'gpu'"):
        open_device("gpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_a_gpu_trains_as_a_cpu_does(recipe: TrainRecipe, straight: Path, tmp_path: Path) -> None:
    train(recipe, tmp_path, device="cuda")
    assert history(tmp_path)[0]["loss"] == pytest.approx(history(straight)[0]["loss"], rel=0.05)


def test_validation_can_be_rarer_and_the_last_weights_kept(recipe: TrainRecipe, tmp_path: Path) -> None:
    own = msgspec.structs.replace(recipe, epochs=5, validate_every=2, keep="last")
    result = train(own, tmp_path)
    assert [epoch["epoch"] for epoch in history(tmp_path) if epoch["miou"] is not None] == [2, 4, 5]
    assert result.kept is not None
    assert result.kept.epoch == 5
    averaged = torch.load(tmp_path / "last.ckpt", weights_only=True)["averaged"]
    net = create_model(recipe.model, num_classes=3, **recipe.options)
    load_weights(net, result.weights)
    for key, value in net.state_dict().items():
        assert torch.equal(value, averaged[f"module.{key}"]), key
