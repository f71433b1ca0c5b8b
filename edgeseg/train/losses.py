"""Losses between logits and labels, and between a student and its teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgeseg.labels import VOID
from edgeseg.train.recipe import Loss

__all__ = ["channel_divergence", "label_loss", "logit_divergence"]


def label_loss(logits: Tensor, target: Tensor, weights: Tensor | None, settings: Loss) -> Tensor:
    """Cross-entropy over the labelled pixels that count, plus the soft Jaccard loss; 0 where all is void.

    Args:
        logits: `(N, C, H, W)` float.
        target: `(N, H, W)` int64 class ids, 255 is void.
        weights: `(C,)` float by class, or None for equal ones.
        settings: Which terms, how strongly.
    """
    logp = functional.log_softmax(logits.float(), 1)
    loss = _cross_entropy(logp, target, weights, settings)
    return loss + settings.jaccard * _soft_jaccard(logp.exp(), target) if settings.jaccard else loss


def _cross_entropy(logp: Tensor, target: Tensor, weights: Tensor | None, settings: Loss) -> Tensor:
    losses = functional.nll_loss(logp, target, weights, ignore_index=VOID, reduction="none")
    labelled = target != VOID
    share = labelled if weights is None else labelled * weights[target.clamp(max=len(weights) - 1)]
    if settings.ohem:
        share = share * _hard_pixels(logp.detach(), target, labelled, settings)
    return (losses * share.bool()).sum() / share.sum().clamp(min=1e-6)


def _hard_pixels(logp: Tensor, target: Tensor, labelled: Tensor, settings: Loss) -> Tensor:
    """Where the labelled class got a low probability, True for `ohem_share` of the labelled pixels at least."""
    own = logp.gather(1, target.clamp(max=logp.shape[1] - 1)[:, None])[:, 0].exp()
    own = torch.where(labelled, own, 2.0)
    count = max(1, int(settings.ohem_share * int(labelled.sum())))
    least = own.flatten().kthvalue(count).values
    return own <= torch.clamp(least, min=settings.ohem)


def _soft_jaccard(probability: Tensor, target: Tensor) -> Tensor:
    """One minus the mean over the classes in `target` of their soft IoU over the whole batch."""
    labelled, classes = target != VOID, probability.shape[1]
    ids = target.clamp(max=classes - 1)
    own = probability.gather(1, ids[:, None])[:, 0] * labelled
    together = own.new_zeros(classes).index_add(0, ids.flatten(), own.flatten())
    there = own.new_zeros(classes).index_add(0, ids.flatten(), labelled.flatten().to(own.dtype))
    iou = together / ((probability * labelled[:, None]).sum((0, 2, 3)) + there - together).clamp(min=1e-6)
    present = there > 0
    return ((1 - iou) * present).sum() / present.sum().clamp(min=1)


def logit_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence from the teacher's class probabilities, mean over the pixels, times T squared.

    Args:
        student: Logits `(N, C, h, w)`.
        teacher: Logits `(N, C, h', w')`, resized where the sizes differ.
        temperature: Both are divided by it.
    """
    teacher = _resized(teacher.float(), student)
    logp, logq = (functional.log_softmax(logits.float() / temperature, 1) for logits in (student, teacher))
    return temperature**2 * (logq.exp() * (logq - logp)).sum(1).mean()


def channel_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Divergence of each channel's softmax over the pixels, mean over the channels, times T squared.

    Source: Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021.
    """
    teacher = _resized(teacher.float(), student)
    logp, logq = (functional.log_softmax(maps.float().flatten(2) / temperature, 2) for maps in (student, teacher))
    return temperature**2 * (logq.exp() * (logq - logp)).sum(2).mean()


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    if maps.shape[2:] == like.shape[2:]:
        return maps
    return functional.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)
