"""Blends of a clip with another one of its class: between two people's ways to do a thing lie others (SMOTE, 2002)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from ..types import Augmentation, Batch, KarmmaError
from .clips import ClipStore


@dataclass(frozen=True)
class ClassBlender:
    """Blends by modality a share of the samples of a batch with clips whose labels are all the same.

    Partner and weight of a sample are the same in all modalities; the weight is even in 0…1.
    """

    store: ClipStore
    shares: Mapping[str, float]

    @cached_property
    def members(self) -> dict[tuple[int, ...], NDArray[np.int64]]:
        """Usable segments by their labels."""
        labels = np.stack([values.numpy() for values in self.store.labels.values()], 1)
        groups: dict[tuple[int, ...], list[int]] = {}
        for index in self.store.usable.tolist():
            groups.setdefault(tuple(labels[index].tolist()), []).append(index)
        return {key: np.array(indices) for key, indices in groups.items()}

    def partners(self, indices: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Another segment of the same class for each; a segment that is alone is its own."""
        chosen = []
        for index in indices.tolist():
            labels = tuple(int(values[index]) for values in self.store.labels.values())
            others = self.members[labels][self.members[labels] != index]
            chosen.append(int(random.choice(others)) if len(others) else index)
        return np.array(chosen, np.int64)

    def blend(
        self, batch: Batch, indices: NDArray[np.int64], rows: slice, augmentation: Augmentation, seed: int
    ) -> Batch:
        """`batch` holds `rows` of the segments `indices`; draws are for all of them, so that processes agree.

        A sample whose partner lacks a modality keeps its own. Raises KarmmaError for inputs of whole numbers.
        """
        random = np.random.default_rng(seed)
        partners = self.partners(indices, random)[rows]
        chance, weights = random.random((2, len(indices)))[:, rows]
        names = [name for name, share in self.shares.items() if name in batch.data and share > 0]
        other = replace(augmentation, generator=torch.Generator().manual_seed(seed))
        found = self.store.batch(partners, other, names)
        data = dict(batch.data)
        for name in names:
            own = data[name]
            if not own.is_floating_point():
                raise KarmmaError(f"blend_within_class: {name} cannot be blended, its input is of whole numbers")
            both = torch.from_numpy(chance < self.shares[name]) & batch.present[name] & found.present[name]
            shape = (-1, *[1] * (own.ndim - 1))
            weight = torch.from_numpy(weights).to(own.dtype).view(shape)
            data[name] = torch.where(both.view(shape), weight * own + (1 - weight) * found.data[name], own)
        return replace(batch, data=data)
