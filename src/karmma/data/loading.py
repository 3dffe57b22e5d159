"""Epochs of batches in an order that follows from seed and epoch alone, so that a resumed run sees the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import processes
from ..augmentation import Augmentation
from ..types import Batch, KarmmaError
from .clips import ClipStore
from .missing import Complete, Scenario, split_presence, stack_presence
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

    `present[modality]` `(batch,)` is what modality dropout left; `batch.present` is what there is to look at, the same
    unless somebody (a teacher) sees more. Where modalities are dropped several times over, `draws` are what each time left
    and `present` is what any of them did; else `draws` is empty. `batch.data` is empty where only tokens are needed.
    `tokens[modality]` is `(batch, tokens, width)`, `looks` `(batch, 2)` of which segment's which view they are, empty without
    tokens. With several processes this is one process's part of a batch.
    """

    batch: Batch
    tokens: dict[str, Tensor]
    seed: int
    present: dict[str, Tensor]
    draws: tuple[dict[str, Tensor], ...] = ()
    looks: Tensor = field(default_factory=lambda: torch.empty(0, 2, dtype=torch.long))

    def select(self, rows: Tensor) -> TrainingBatch:
        """The samples `rows` `(count,)`."""
        tokens = {name: values[rows] for name, values in self.tokens.items()}
        present = {name: flags[rows] for name, flags in self.present.items()}
        draws = tuple({name: flags[rows] for name, flags in draw.items()} for draw in self.draws)
        looks = self.looks[rows] if len(self.looks) else self.looks
        return replace(self, batch=self.batch.select(rows), tokens=tokens, present=present, draws=draws, looks=looks)


def draw_presence(scenario: Scenario, available: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """δ for a batch, `(samples,)` by modality. Drawn for a whole batch, so that it does not depend on who shares it."""
    names, flags = tuple(available), torch.stack(list(available.values()), 1)
    having = flags.any(1)
    present = torch.zeros_like(flags)
    present[having] = scenario.presence(flags[having], names, torch.Generator().manual_seed(seed))
    return split_presence(present, names)


def within(draw: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What of a draw is there; all that is there for samples of which nothing else would be left."""
    left = {name: flags & present[name] for name, flags in draw.items()}
    bare = ~torch.stack(list(left.values())).any(0)
    return {name: flags | (bare & present[name]) for name, flags in left.items()}


class EpochLoader:
    """Iterates one epoch of a store. Clips are skipped with `clips=False` (training on cached tokens), or made of
    the modalities `names` alone. With several processes each makes its part of every batch, unless `shared` is false.

    `scenario` draws what of each sample is present (δ), `draws` times. What no draw leaves is neither decoded nor augmented,
    unless somebody `sees_all`. With `tokens` beside clips both are the same look at each segment.
    """

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
        scenario: Scenario | None = None,
        sees_all: bool = False,
        draws: int = 1,
    ) -> None:
        self.store, self.batch_size, self.seed, self.epoch = store, batch_size, seed, epoch
        self.augment, self.mirror, self.clips, self.tokens, self.workers = augment, mirror, clips, tokens, workers
        self.names, self.shared = tuple(names or store.names), shared
        self.scenario, self.sees_all, self.draws = scenario or Complete(), sees_all, draws

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
    def tokens_alone(self) -> bool:
        """Whether batches are made of cached tokens and nothing else."""
        return self.tokens is not None and not self.clips

    @cached_property
    def available(self) -> dict[str, Tensor]:
        """Who has what, `(segments,)` by modality; where tokens are needed it must have been readable when they were made."""
        available = self.store.available
        if self.tokens is not None:
            available = available & torch.from_numpy(self.tokens.present)
        return split_presence(available, self.store.names)

    @cached_property
    def usable(self) -> NDArray[np.int64]:
        """Segments with at least one modality."""
        return np.flatnonzero(stack_presence(self.available, self.store.names).any(1).numpy())

    def make(self, number: int) -> TrainingBatch:
        """One batch of the epoch."""
        indices = np.sort(self.order[number * self.batch_size : (number + 1) * self.batch_size])
        rows = share_of(len(indices)) if self.shared else slice(0, len(indices))
        seed = mix_seed(self.seed, self.epoch, number)
        views = self.draw_views(len(indices), seed)
        tokens = self.tokens.looks(indices[rows], views[rows]) if self.tokens is not None else {}
        whole = {name: self.available[name][indices] for name in self.names}
        seeds = [seed, *(mix_seed(seed, again) for again in range(1, self.draws))]
        each = [draw_presence(self.scenario, whole, one) for one in seeds]
        drawn = {name: torch.stack([draw[name] for draw in each]).any(0)[rows] for name in self.names}
        needed = {name: flags[rows] for name, flags in whole.items()} if self.sees_all else drawn
        batch = self.clips_of(indices, needed, views, seed, rows)
        present = {name: flags & batch.present[name] for name, flags in drawn.items()}
        parts = ({name: flags[rows] for name, flags in draw.items()} for draw in each)
        draws = tuple(within(part, present) for part in parts) if self.draws > 1 else ()
        looks = torch.from_numpy(np.stack([indices, views], 1)[rows if tokens else slice(0)])
        return TrainingBatch(batch, tokens, seed, present, draws, looks)

    def draw_views(self, count: int, seed: int) -> NDArray[np.int64]:
        """Which cached look each sample of a batch has; with clips an augmented one, where these are augmented. Else 0."""
        if self.tokens is None or not (self.augment or self.tokens_alone):
            return np.zeros(count, np.int64)
        return np.random.default_rng(seed).integers(1 if self.clips else 0, self.tokens.views, size=count)

    def clips_of(
        self, indices: NDArray[np.int64], needed: Mapping[str, Tensor], views: NDArray[np.int64], seed: int, rows: slice
    ) -> Batch:
        """This process's rows of a batch, augmented: what is needed of them; labels and presence alone on cached tokens."""
        if not self.clips:
            return Batch({}, dict(needed), self.store.bare_batch(indices[rows]).labels)
        augmentation: Augmentation | None = None
        if self.augment and self.tokens is not None:
            augmentation = Augmentation.of_looks(indices[rows].tolist(), views[rows].tolist(), self.mirror)
        elif self.augment:
            augmentation = Augmentation.draw(len(indices), seed, self.mirror, rows)
        return self.store.batch(indices[rows], augmentation, self.names, needed)


def share_of(batch_size: int) -> slice:
    """This process's part of a batch. Raises KarmmaError if parts would differ in size: their mean would not be the whole's."""
    if batch_size % processes.count():
        raise KarmmaError(f"a batch of {batch_size} cannot be shared evenly by {processes.count()} processes")
    size = batch_size // processes.count()
    return slice(processes.rank() * size, (processes.rank() + 1) * size)
