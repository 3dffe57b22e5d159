"""Epochs of batches in an order that follows from seed and epoch alone, so that a resumed run sees the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import processes
from ..types import Augmentation, Batch, KarmmaError
from .clips import ClipStore
from .missing import split_presence, stack_presence
from .pairing import Pairing, Taken
from .streaming import in_order
from .tokens import TokenStore


def mix_seed(*parts: int) -> int:
    """A 63-bit seed out of several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


PRETRAINING, SPECIALISTS, KERNELS = 1, 2, 3  # whose draws differ from the students'


def stage_seed(seed: int, stage: int) -> int:
    """The seed of a stage's clips: what starts or teaches a student has not seen the very draws that the student will see."""
    return mix_seed(seed, stage)


@dataclass(frozen=True)
class TrainingBatch:
    """A batch of clips and, where a frozen teacher needs them, its extractors' tokens of the same segments.

    `batch.data` is empty where only tokens are needed. `tokens[modality]` is `(batch, tokens, width)`. With several
    processes this is the part `rows` of a batch whose availability by modality `(whole,)` is `whole`.
    """

    batch: Batch
    tokens: dict[str, Tensor]
    seed: int
    whole: dict[str, Tensor]
    rows: slice

    def select(self, rows: Tensor) -> TrainingBatch:
        """The samples `rows` `(count,)`; what is said of the whole batch stays."""
        tokens = {name: values[rows] for name, values in self.tokens.items()}
        return replace(self, batch=self.batch.select(rows), tokens=tokens)

    @staticmethod
    def alone(batch: Batch, tokens: dict[str, Tensor], seed: int) -> TrainingBatch:
        """A batch that no other process shares."""
        return TrainingBatch(batch, tokens, seed, batch.present, slice(None))


class EpochLoader:
    """Iterates one epoch of a store. Clips are skipped with `clips=False` (training on cached tokens), or made of
    the modalities `names` alone. With several processes each makes its part of every batch, unless `shared` is false.
    `pairing` is the probability with which a modality comes from another segment of the class."""

    def __init__(
        self,
        store: ClipStore,
        batch_size: int,
        seed: int,
        epoch: int,
        *,
        augment: bool,
        mirror: float = 0.5,
        clips: bool = True,
        tokens: TokenStore | None = None,
        names: Sequence[str] | None = None,
        workers: int = 0,
        shared: bool = True,
        pairing: float = 0.0,
    ) -> None:
        self.store, self.batch_size, self.seed, self.epoch = store, batch_size, seed, epoch
        self.augment, self.mirror, self.clips, self.tokens, self.workers = augment, mirror, clips, tokens, workers
        self.names, self.shared, self.pairing = names, shared, pairing

    def __len__(self) -> int:
        return max(len(self.usable) // self.batch_size, 1)

    def __iter__(self) -> Iterator[TrainingBatch]:
        if self.store.streams and self.clips:
            yield from in_order(self.make, range(len(self)), self.workers)
            return
        for number in range(len(self)):
            yield self.make(number)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Usable segments in the order of this epoch."""
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.usable)

    @property
    def tokens_alone(self) -> TokenStore | None:
        """The cache, where batches are made of nothing else."""
        return None if self.clips else self.tokens

    @cached_property
    def available(self) -> dict[str, Tensor]:
        """Who has what, `(segments,)` by modality; for training on tokens it must have been readable when they were made."""
        available = self.store.available
        if self.tokens_alone is not None:
            available = available & torch.from_numpy(self.tokens_alone.present)
        return split_presence(available, self.store.names)

    @cached_property
    def usable(self) -> NDArray[np.int64]:
        """Segments with at least one modality."""
        return np.flatnonzero(stack_presence(self.available, self.store.names).any(1).numpy())

    @cached_property
    def partners(self) -> Pairing | None:
        """Who stands in for whom, if anybody does."""
        return Pairing(self.store.labels, self.available, self.pairing) if self.pairing else None

    def make(self, number: int) -> TrainingBatch:
        """One batch of the epoch."""
        indices = np.sort(self.order[number * self.batch_size : (number + 1) * self.batch_size])
        rows = share_of(len(indices)) if self.shared else slice(0, len(indices))
        seed = mix_seed(self.seed, self.epoch, number)
        taken = self.partners.draw(indices, seed) if self.partners else dict.fromkeys(self.store.names, indices)
        tokens = self.tokens.draw(taken, seed, rows) if self.tokens is not None else {}
        whole = {name: flags[taken[name]] for name, flags in self.available.items()}
        batch = self.clips_of(indices, taken, seed, rows)
        if self.tokens_alone is not None:
            batch = Batch({}, {name: flags[rows] for name, flags in whole.items()}, batch.labels)
        if self.store.streams and self.clips:  # a clip may have turned out to be unreadable
            for name, present in batch.present.items():
                whole[name][rows] = present
        return TrainingBatch(batch, tokens, seed, whole, rows)

    def clips_of(self, indices: NDArray[np.int64], taken: Taken, seed: int, rows: slice) -> Batch:
        """This process's rows of a batch, augmented; labels and presence alone on cached tokens."""
        own = {name: some[rows] for name, some in taken.items()}
        if not self.clips:
            return self.store.bare_batch(indices[rows], own)
        augmentation = Augmentation.draw(len(indices), seed, self.mirror, rows) if self.augment else None
        return self.store.batch(indices[rows], augmentation, self.names, own)


def share_of(batch_size: int) -> slice:
    """This process's part of a batch. Raises KarmmaError if parts would differ in size: their mean would not be the whole's."""
    if batch_size % processes.count():
        raise KarmmaError(f"a batch of {batch_size} cannot be shared evenly by {processes.count()} processes")
    size = batch_size // processes.count()
    return slice(processes.rank() * size, (processes.rank() + 1) * size)
