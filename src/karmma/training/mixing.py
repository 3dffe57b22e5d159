"""Mixup: blends of two samples and of their labels (Zhang et al., 2018), for sets of sensors.

A student that is taught by what its teacher says about blends, too, sees far more than the few clips there are
(Beyer et al., 2022: a teacher should see the very input of its student).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from ..data.loading import TrainingBatch
from ..types import KarmmaError


def mix(batch: TrainingBatch, patterns: Tensor, classes: Mapping[str, int], beta: float) -> TrainingBatch:
    """Blend every sample with another one of the same row of `patterns` `(batch, flags)`: same sensors on both sides.

    The share of the sample itself is the larger one of a draw from Beta(beta, beta). Labels become probabilities
    `(batch, classes)`. A sample whose pattern nobody shares stays as it is. Draws come from torch's global generator;
    with several processes each blends its own part of a batch. Raises KarmmaError for inputs of whole numbers.
    """
    device = patterns.device
    partners = draw_partners(patterns.cpu())
    shares = torch.distributions.Beta(beta, beta).sample((len(partners),))
    shares = torch.maximum(shares, 1 - shares).to(device)
    partners = partners.to(device)

    def blend(values: Tensor) -> Tensor:
        own = shares.view(-1, *[1] * (values.ndim - 1)).to(values.dtype)
        return own * values + (1 - own) * values[partners]

    whole = [name for name, values in batch.batch.data.items() if not values.is_floating_point()]
    if whole:
        raise KarmmaError(f"mixup cannot blend {', '.join(whole)}: its input is of whole numbers")
    data = {name: blend(values) for name, values in batch.batch.data.items()}
    labels = {head: blend(functional.one_hot(v, classes[head]).float()) for head, v in batch.batch.labels.items()}
    return replace(batch, batch=replace(batch.batch, data=data, labels=labels))


def draw_partners(patterns: Tensor) -> Tensor:
    """For each sample a random one of the same pattern, a permutation within each group; `(batch,)`."""
    partners = torch.arange(len(patterns))
    for pattern in patterns.unique(dim=0):
        rows = (patterns == pattern).all(1).nonzero().flatten()
        partners[rows] = rows[torch.randperm(len(rows))]
    return partners
