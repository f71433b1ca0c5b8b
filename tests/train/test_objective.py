"""What a step minimizes: auxiliary heads and teachers take part, and leave nothing behind."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")

from edgeseg.errors import EdgesegError, ModelFileError, UsageError
from edgeseg.models import create_model, load_weights, save_weights
from edgeseg.train.loop import train
from edgeseg.train.objective import Objective, load_teacher
from edgeseg.train.precision import keep_depthwise_in_float
from edgeseg.train.recipe import Distillation, Loss, Optimizer, TrainRecipe
from tests.train.scenes import CLASSES


@pytest.fixture(scope="module")
def recipe(recipe: TrainRecipe) -> TrainRecipe:
    return msgspec.structs.replace(recipe, epochs=1, optimizer=Optimizer(ema=0.9))


@pytest.fixture(scope="module")
def teacher(recipe: TrainRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a run of another network."""
    own = msgspec.structs.replace(recipe, model="liteseg-efficientnet-lite0", options={"width": 0.25})
    return train(own, tmp_path_factory.mktemp("teacher")).weights


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, (2, 32, 48), generator=generator)
    return torch.randn(2, 3, 32, 48, generator=generator), target


def made(recipe: TrainRecipe, **changes: Any) -> Objective:
    torch.manual_seed(0)
    net = create_model(recipe.model, num_classes=3, **recipe.options)
    return Objective(net, msgspec.structs.replace(recipe, **changes), None).train()


def learn_from(teacher: Path, **settings: Any) -> Distillation:
    return Distillation(teacher=str(teacher), **settings)


def test_auxiliary_heads_teach_the_maps_that_they_see(recipe: TrainRecipe) -> None:
    gradients = []
    for weight in (0.0, 1.0):
        objective = made(recipe, loss=Loss(aux_strides=(8,), aux=weight))
        objective(*batch()).backward()
        stages = objective.net.features().stages()
        gradients.append([stages[stage][0].conv[0].weight.grad for stage in (2, 5)])
    assert sorted(objective.aux) == ["8"]
    assert all(p.grad is not None and p.grad.any() for p in objective.aux.parameters())
    (near, far), (near_taught, far_taught) = gradients
    assert torch.allclose(far, far_taught), "what lies beyond the head's map learns from the main loss alone"
    assert not torch.allclose(near, near_taught)


def test_a_teacher_changes_what_is_learnt_and_learns_nothing_itself(recipe: TrainRecipe, teacher: Path) -> None:
    plain, taught = made(recipe), made(recipe, distillation=learn_from(teacher, feature_strides=(8, 16)))
    before = copy.deepcopy(taught._teacher[0].state_dict())
    taught.load_state_dict({**taught.state_dict(), **plain.state_dict()})
    assert taught(*batch()) > plain(*batch())
    loss = taught(*batch())
    loss.backward()
    assert sorted(taught.adapters) == ["16", "8"]
    assert all(p.grad is not None and p.grad.any() for p in taught.adapters.parameters())
    backbone, rest = taught.parameter_groups()
    assert {id(p) for p in backbone} == {id(p) for p in taught.net.features().parameters()}
    assert len(backbone) + len(rest) == len(list(taught.parameters()))
    (frozen,) = taught._teacher
    assert not frozen.training
    for key, value in frozen.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_teacher_may_look_closer(recipe: TrainRecipe, teacher: Path) -> None:
    seen: list[tuple[int, ...]] = []
    taught = made(recipe, distillation=learn_from(teacher, scale=1.5, feature_strides=(8,)))
    taught._teacher[0].features().register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape)))
    assert torch.isfinite(taught(*batch()))
    assert seen == [(2, 3, 48, 72)]


def test_heads_and_teacher_are_left_out_of_the_saved_weights(
    recipe: TrainRecipe, teacher: Path, tmp_path: Path
) -> None:
    own = msgspec.structs.replace(
        recipe,
        loss=Loss(aux_strides=(16,), ohem=0.7, jaccard=0.5),
        distillation=learn_from(teacher, feature_strides=(16,)),
        precision="bf16",
        keep="last",
    )
    result = train(own, tmp_path)
    net = create_model(recipe.model, num_classes=3, **recipe.options)
    load_weights(net, result.weights)
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())


def test_a_stopped_run_with_heads_and_teacher_goes_on(recipe: TrainRecipe, teacher: Path, tmp_path: Path) -> None:
    own = msgspec.structs.replace(recipe, loss=Loss(aux_strides=(16,)), distillation=learn_from(teacher))
    straight = train(own, tmp_path / "straight").weights.read_bytes()
    asked = iter(range(100))
    assert train(own, tmp_path / "run", stop=lambda: next(asked) == 1).interrupted
    assert train(own, tmp_path / "run", resume=True).weights.read_bytes() == straight


def without_recipe(folder: Path) -> Path:
    save_weights(create_model("liteseg-mobilenetv2", num_classes=3, width=0.25), folder / "bare.safetensors")
    return folder / "bare.safetensors"


def damaged(folder: Path) -> Path:
    (folder / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    return folder / "cut.safetensors"


@pytest.mark.parametrize(
    ("path", "classes", "error", "said"),
    [
        pytest.param(lambda at: at / "none.safetensors", CLASSES, ModelFileError, "no teacher at", id="no file"),
        pytest.param(without_recipe, CLASSES, ModelFileError, "carries no recipe", id="weights from elsewhere"),
        pytest.param(damaged, CLASSES, ModelFileError, "carries no recipe", id="a damaged file"),
        pytest.param(None, "a,b,c", UsageError, "knows other classes: ground, tree, car", id="other classes"),
    ],
)
def test_who_cannot_teach_is_refused(
    teacher: Path, tmp_path: Path, path: Any, classes: str, error: type[EdgesegError], said: str
) -> None:
    with pytest.raises(error, match=said):
        load_teacher(learn_from(teacher if path is None else path(tmp_path)), classes)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"loss": Loss(aux_strides=(3,))}, id="an auxiliary head"),
        pytest.param({"distillation": {"feature_strides": (64,)}}, id="features of the teacher"),
    ],
)
def test_a_stride_without_a_map_is_refused(recipe: TrainRecipe, teacher: Path, changes: dict[str, Any]) -> None:
    if "distillation" in changes:
        changes = {"distillation": learn_from(teacher, **changes["distillation"])}
    with pytest.raises(UsageError, match=r"a map of stride \d+, which the backbone does not give") as caught:
        made(recipe, **changes)
    assert "2, 4, 8, 16, 32" in caught.value.hint


def test_slow_depthwise_convolutions_compute_in_float_and_give_the_same(recipe: TrainRecipe) -> None:
    net = create_model("liteseg-efficientnet-lite0", num_classes=3, width=0.25)
    pixels = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        before = net(pixels)
        keep_depthwise_in_float(net)
        assert torch.equal(net(pixels), before)
        seen: list[torch.dtype] = []
        conv = net.features().stages()[1][0].conv[3]
        assert conv.stride == (2, 2)
        conv.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
        with torch.autocast("cpu", torch.bfloat16):
            net(pixels)
    assert seen == [torch.bfloat16], "the answer has the type of the input"
    assert type(conv).__name__ == "FloatConv2d"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_fused_teacher_answers_as_it_did(recipe: TrainRecipe, teacher: Path, precision: str) -> None:
    plain = load_teacher(learn_from(teacher), CLASSES)
    (fused,) = made(recipe, distillation=learn_from(teacher), precision=precision)._teacher
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.features().modules())
    images, _ = batch()
    with torch.no_grad():
        expected, answer = plain(images), fused(images.to(next(fused.parameters()).dtype)).float()
    assert torch.allclose(expected, answer, atol=1e-4 if precision == "fp32" else 0.1)
