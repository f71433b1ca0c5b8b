"""Losses: against their definitions, written out over pixels, and against torch's own."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

from edgeseg.labels import VOID
from edgeseg.train.losses import channel_divergence, label_loss, logit_divergence
from edgeseg.train.recipe import Loss

CLASSES = 4


@pytest.fixture
def logits() -> torch.Tensor:
    return 2 * torch.randn(2, CLASSES, 5, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def target() -> torch.Tensor:
    ids = torch.randint(0, CLASSES - 1, (2, 5, 6), generator=torch.Generator().manual_seed(1))
    ids[:, 0] = VOID
    return ids


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5, 3.0])], ids=["equal", "weighted"])
def test_the_plain_loss_is_the_cross_entropy(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> None:
    expected = functional.cross_entropy(logits, target, weight=weights, ignore_index=VOID)
    assert label_loss(logits, target, weights, Loss()) == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("ohem", "share"),
    [
        pytest.param(0.3, 0.01, id="pixels below a probability"),
        pytest.param(0.001, 0.5, id="the hardest half where few are below"),
    ],
)
def test_hard_pixels_alone_count(logits: torch.Tensor, target: torch.Tensor, ohem: float, share: float) -> None:
    losses = [
        (-logits[n].log_softmax(0)[target[n, y, x], y, x]).item()
        for n in range(2)
        for y in range(1, 5)
        for x in range(6)
    ]
    hard = [loss for loss in losses if loss >= -torch.tensor(ohem).log().item()]
    least = sorted(losses, reverse=True)[: int(share * len(losses))]
    expected = max(hard, least, key=len)
    assert 0 < len(expected) < len(losses)
    loss = label_loss(logits, target, None, Loss(ohem=ohem, ohem_share=share))
    assert loss.item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_the_jaccard_loss_is_one_less_the_mean_soft_iou(logits: torch.Tensor, target: torch.Tensor) -> None:
    p, labelled = logits.softmax(1), target != VOID
    ious = []
    for c in target[labelled].unique().tolist():
        mine, truth = p[:, c] * labelled, ((target == c) & labelled).float()
        ious.append(((mine * truth).sum() / (mine + truth - mine * truth).sum()).item())
    difference = label_loss(logits, target, None, Loss(jaccard=1.0)) - label_loss(logits, target, None, Loss())
    assert difference.item() == pytest.approx(1 - sum(ious) / len(ious), rel=1e-5)
    assert len(ious) == CLASSES - 1, "a class without pixels does not count"


@pytest.mark.parametrize("settings", [Loss(), Loss(ohem=0.7), Loss(jaccard=1.0)], ids=["plain", "ohem", "jaccard"])
def test_void_alone_gives_nothing_to_learn(logits: torch.Tensor, target: torch.Tensor, settings: Loss) -> None:
    logits.requires_grad_()
    loss = label_loss(logits, torch.full_like(target, VOID), torch.ones(CLASSES), settings)
    loss.backward()
    assert loss.item() == pytest.approx(settings.jaccard * 0)
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("settings", [Loss(), Loss(ohem=0.7), Loss(jaccard=1.0)], ids=["plain", "ohem", "jaccard"])
def test_void_pixels_teach_nothing(logits: torch.Tensor, target: torch.Tensor, settings: Loss) -> None:
    logits.requires_grad_()
    label_loss(logits, target, torch.ones(CLASSES), settings).backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, 0].any()
    assert logits.grad[:, :, 1:].any()


def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn(logits: torch.Tensor) -> None:
    assert logit_divergence(logits, logits, 2.0).item() == pytest.approx(0, abs=1e-6)
    assert channel_divergence(logits, logits, 2.0).item() == pytest.approx(0, abs=1e-6)
    shifted = logits + torch.randn_like(logits)
    assert logit_divergence(logits, shifted, 2.0) > 0.01
    assert channel_divergence(logits, shifted, 2.0) > 0.01


def test_the_divergence_is_torchs_own(logits: torch.Tensor) -> None:
    teacher = torch.randn_like(logits)
    per_pixel = functional.kl_div((logits / 3).log_softmax(1), (teacher / 3).softmax(1), reduction="none").sum(1).mean()
    assert logit_divergence(logits, teacher, 3.0).item() == pytest.approx(9 * per_pixel.item(), rel=1e-4)


def test_a_teacher_of_another_size_is_resized(logits: torch.Tensor) -> None:
    flat = torch.arange(CLASSES, dtype=torch.float32).view(1, -1, 1, 1)
    student, teacher = flat.expand(1, -1, 5, 6), flat.expand(1, -1, 9, 11)
    assert logit_divergence(student, teacher, 1.0).item() == pytest.approx(0, abs=1e-6)
