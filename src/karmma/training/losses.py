"""Losses as pure functions of logits per label set (paper, steps 7 and 8)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

Logits = Mapping[str, Tensor]


def cross_entropy(logits: Logits, labels: Logits, label_smoothing: float = 0.0) -> Tensor:
    """Of each sample `(batch,)`, mean over label sets; logits `(batch, classes)`, labels `(batch,)` or as probabilities
    `(batch, classes)`."""
    losses = [
        functional.cross_entropy(values.float(), labels[head], label_smoothing=label_smoothing, reduction="none")
        for head, values in logits.items()
    ]
    return torch.stack(losses).mean(0)


def distillation(student: Logits, teacher: Logits, temperature: float) -> Tensor:
    """temperature² · KL(teacher ‖ student) of tempered softmaxes of each sample `(batch,)`, mean over label sets."""
    losses = []
    for head, values in student.items():
        target = functional.log_softmax(teacher[head].float() / temperature, -1)
        guess = functional.log_softmax(values.float() / temperature, -1)
        losses.append(functional.kl_div(guess, target, reduction="none", log_target=True).sum(-1) * temperature**2)
    return torch.stack(losses).mean(0)


def label_probability(logits: Logits, labels: Logits) -> Tensor:
    """What logits `(batch, classes)` give the label of each sample `(batch,)`, mean over label sets; labels as for
    `cross_entropy`."""
    return torch.stack([
        (functional.softmax(values.float(), -1) * as_probabilities(labels[head], values.shape[1])).sum(-1)
        for head, values in logits.items()
    ]).mean(0)  # fmt: skip


def as_probabilities(labels: Tensor, classes: int) -> Tensor:
    return labels if labels.is_floating_point() else functional.one_hot(labels, classes)


def info_nce(pooled: Mapping[str, Tensor], present: Mapping[str, Tensor], temperature: float = 0.1) -> Tensor:
    """Symmetric InfoNCE between pooled tokens `(batch, dim)` of each pair of modalities that samples share (paper v1)."""
    names, losses = list(pooled), []
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            rows = (present[one] & present[other]).nonzero().flatten()
            if len(rows) < 2:
                continue
            left = functional.normalize(pooled[one][rows].float(), dim=-1)
            right = functional.normalize(pooled[other][rows].float(), dim=-1)
            similarity, target = left @ right.T / temperature, torch.arange(len(rows), device=rows.device)
            losses.append(
                (functional.cross_entropy(similarity, target) + functional.cross_entropy(similarity.T, target)) / 2
            )
    return torch.stack(losses).mean() if losses else torch.zeros(())
