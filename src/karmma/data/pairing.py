"""Samples put together out of several segments of one class. Nothing here is from the paper."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Taken = Mapping[str, NDArray[np.int64]]  # by modality, of which segment each sample's is `(samples,)`


class Pairing:
    """Draws for each modality of a sample, with probability `share`, a segment of the same labels that has it.

    A sample so may get what its own segment lacks: of segments with one modality each, complete samples can be made.
    `labels[head]` and `available[modality]` are `(segments,)`; two segments are of one class where all heads agree.
    """

    def __init__(self, labels: Mapping[str, Tensor], available: Mapping[str, Tensor], share: float) -> None:
        self.share = share
        table = np.stack([values.numpy() for values in labels.values()], 1)
        self.group = np.unique(table, axis=0, return_inverse=True)[1].reshape(-1)
        self.order, self.first, self.count = {}, {}, {}
        for name, flags in available.items():
            having = np.flatnonzero(flags.numpy())
            self.order[name] = having[np.argsort(self.group[having], kind="stable")]
            self.count[name] = np.bincount(self.group[having], minlength=self.group.max() + 1)
            self.first[name] = np.cumsum(self.count[name]) - self.count[name]

    def draw(self, indices: NDArray[np.int64], seed: int) -> dict[str, NDArray[np.int64]]:
        """Of which segment each modality of the samples `indices` is. Their own where no segment of the class has it."""
        random = np.random.default_rng(seed)
        taken = {}
        for name, order in self.order.items():
            group = self.group[indices]
            count = self.count[name][group]
            swapped = (random.random(len(indices)) < self.share) & (count > 0)
            place = self.first[name][group] + np.floor(random.random(len(indices)) * count).astype(np.int64)
            taken[name] = np.where(swapped, order[np.minimum(place, len(order) - 1)] if len(order) else indices, indices)
        return taken
