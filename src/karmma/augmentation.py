"""The randomness of training clips: drawn for a batch, or numbered looks at a sample that can be had again at any time."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from .later import torch

Make = Callable[[Sequence[int], "torch.Generator"], "Tensor"]


@dataclass(frozen=True)
class Augmentation(ABC):
    """Randomness of one training batch. `mirrored` `(batch,)` flips left–right, in all modalities alike; all else each
    modality draws from generators of its own (`of`). Every draw has the samples first.
    """

    mirrored: Tensor

    @staticmethod
    def draw(batch_size: int, seed: int, mirror: float = 0.5, rows: slice | None = None) -> BatchAugmentation:
        """Fresh randomness for `rows` of a batch; `mirror` is the probability of a flip."""
        generator, rows = torch.Generator().manual_seed(seed), rows or slice(0, batch_size)
        mirrored = torch.rand(batch_size, generator=generator) < mirror
        return BatchAugmentation(mirrored[rows], generator, rows, batch_size)

    @staticmethod
    def of_looks(samples: Sequence[int], views: Sequence[int], mirror: float = 0.5) -> LookAugmentation:
        """The looks with the numbers `views` at the samples with the numbers `samples`."""
        looks = tuple(f"{sample}.{view}" for sample, view in zip(samples, views, strict=True))
        bare = LookAugmentation(torch.zeros(len(looks), dtype=torch.bool), looks)
        return replace(bare, mirrored=bare.of("").uniform((len(looks),), 0, 1) < mirror)

    @abstractmethod
    def of(self, modality: str) -> Augmentation:
        """This batch's randomness for one modality, whichever other ones are read; `mirrored` stays shared."""

    @abstractmethod
    def select(self, places: Tensor) -> Augmentation:
        """The same randomness for some of these samples, given by their places."""

    @abstractmethod
    def drawn(self, shape: Sequence[int], make: Make) -> Tensor:
        """What `make` draws, `shape`, whose first dimension are these samples."""

    def uniform(self, shape: Sequence[int], low: float, high: float) -> Tensor:
        """Floats `shape` in low…high."""
        return self.drawn(shape, lambda size, source: torch.rand(size, generator=source)) * (high - low) + low

    def normal(self, shape: Sequence[int], deviation: float) -> Tensor:
        """Normal floats `shape` around zero."""
        return self.drawn(shape, lambda size, source: torch.randn(size, generator=source)) * deviation

    def integers(self, shape: Sequence[int], below: int) -> Tensor:
        """Whole numbers `shape` from 0 to `below` − 1."""
        return self.drawn(shape, lambda size, source: torch.randint(below, size, generator=source))


@dataclass(frozen=True)
class BatchAugmentation(Augmentation):
    """One generator for a batch. Whoever makes only some `rows` of a batch of `whole` samples draws for all of them and
    keeps these, so that each sample looks the same whichever others are made, and in whichever process.
    """

    generator: torch.Generator
    rows: slice | Tensor | None = None  # of the whole batch, by number; None: all
    whole: int | None = None  # as many as there are in `mirrored`

    def of(self, modality: str) -> BatchAugmentation:
        seed = (self.generator.initial_seed() ^ zlib.crc32(modality.encode())) % 2**63
        return replace(self, generator=torch.Generator().manual_seed(seed))

    def select(self, places: Tensor) -> BatchAugmentation:
        whole = self.whole or len(self.mirrored)
        return replace(self, mirrored=self.mirrored[places], rows=self.own(torch.arange(whole))[places], whole=whole)

    def own(self, drawn: Tensor) -> Tensor:
        """Of draws for the whole batch those of these samples."""
        return drawn if self.rows is None else drawn[self.rows]

    def drawn(self, shape: Sequence[int], make: Make) -> Tensor:
        return self.own(make((self.whole or len(self.mirrored), *shape[1:]), self.generator))


@dataclass(frozen=True)
class LookAugmentation(Augmentation):
    """A generator per sample, which follows from the sample's number and its look's: the same whenever it is drawn, with
    whichever other samples. So a frozen teacher can have looked at a clip before the student gets it.
    """

    looks: tuple[str, ...]
    generators: tuple[torch.Generator, ...] = ()

    def of(self, modality: str) -> LookAugmentation:
        seeds = [zlib.crc32(f"{look}.{modality}".encode()) for look in self.looks]
        return replace(self, generators=tuple(torch.Generator().manual_seed(seed) for seed in seeds))

    def select(self, places: Tensor) -> LookAugmentation:
        """Before `of`: generators go on from where they are."""
        return replace(self, mirrored=self.mirrored[places], looks=tuple(self.looks[place] for place in places.tolist()))

    def drawn(self, shape: Sequence[int], make: Make) -> Tensor:
        return torch.stack([make(tuple(shape[1:]), generator) for generator in self.generators])
