"""Who is absent: one notion of a missing-modality scenario for training dropout, evaluation grids and published masks.

A scenario turns availability (what a sample has, `(samples, modalities)` bool) into presence (what the model may see).
Nothing else in the project decides presence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ..config import MethodConfig, TeacherConfig
from ..files import rows_of
from ..types import KarmmaError, subsets_of, weigh_subsets


class Scenario(Protocol):
    """A rule for what is taken away."""

    def presence(self, available: Tensor, modalities: Sequence[str], generator: torch.Generator) -> Tensor:
        """Presence `(samples, modalities)` bool, never more than `available`; `generator` draws what is random."""


@dataclass(frozen=True)
class Complete:
    """Nothing is taken away."""

    def presence(self, available: Tensor, modalities: Sequence[str], generator: torch.Generator) -> Tensor:
        return available.clone()


@dataclass(frozen=True)
class Subset:
    """Only the named modalities are left (protocol P1). A sample that has none of them keeps nothing."""

    names: tuple[str, ...]

    def presence(self, available: Tensor, modalities: Sequence[str], generator: torch.Generator) -> Tensor:
        unknown = [name for name in self.names if name not in modalities]
        if unknown or not self.names:
            raise KarmmaError(f"subset {self.names}: allowed are non-empty subsets of {', '.join(modalities)}")
        return available & torch.tensor([name in self.names for name in modalities])


@dataclass(frozen=True)
class IndependentDropout:
    """Each modality is dropped with probability `rate`; if all would be, one at random stays (paper's δ, protocol P2)."""

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise KarmmaError(f"dropout rate must lie in 0–1, not {self.rate}")

    def presence(self, available: Tensor, modalities: Sequence[str], generator: torch.Generator) -> Tensor:
        kept = available & (torch.rand(available.shape, generator=generator) >= self.rate)
        chance = torch.rand(available.shape, generator=generator).masked_fill(~available, -1)
        restored = torch.nn.functional.one_hot(chance.argmax(1), available.shape[1]).bool() & available
        return torch.where(kept.any(1, keepdim=True), kept, restored)


@dataclass(frozen=True)
class UniformSubsets:
    """Every non-empty subset of what a sample has is equally likely."""

    def presence(self, available: Tensor, modalities: Sequence[str], generator: torch.Generator) -> Tensor:
        kept = torch.zeros_like(available)
        while (open_rows := available.any(1) & ~kept.any(1)).any():
            drawn = available & (torch.rand(available.shape, generator=generator) < 0.5)
            kept = torch.where(open_rows[:, None], drawn, kept)
        return kept


@dataclass(frozen=True)
class WeightedSubsets:
    """Non-empty subsets of what a sample has are drawn by weight: `imu+depth` names one, `others` those that nobody names (1).

    A sample all of whose subsets weigh nothing keeps all it has.
    """

    weights: Mapping[str, float]

    def presence(self, available: Tensor, modalities: Sequence[str], generator: torch.Generator) -> Tensor:
        patterns = torch.tensor([[name in subset for name in modalities] for subset in subsets_of(modalities)])
        chances = torch.tensor(weigh_subsets(self.weights, modalities), dtype=torch.float64) * (available[:, None] | ~patterns).all(2)
        open_rows = chances.any(1)
        kept = available.clone()
        if open_rows.any():
            kept[open_rows] = patterns[torch.multinomial(chances[open_rows], 1, generator=generator)[:, 0]]
        return kept


@dataclass(frozen=True)
class KeepSome:
    """Of every sample `count` random modalities are left, or all it has where that is fewer (protocol P5)."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise KarmmaError(f"at least one modality must be kept, not {self.count}")

    def presence(self, available: Tensor, modalities: Sequence[str], generator: torch.Generator) -> Tensor:
        chance = torch.rand(available.shape, generator=generator).masked_fill(~available, -1)
        rank = chance.argsort(1, descending=True).argsort(1)
        return available & (rank < self.count)


@dataclass(frozen=True)
class ObservationLevel:
    """A share of the samples loses the named modalities, the rest is complete (protocol P3).

    With equal seeds a higher share takes from the same samples and more: masks are nested. A sample that has nothing else
    keeps nothing.
    """

    missing: tuple[str, ...]
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise KarmmaError(f"share of samples must lie in 0–1, not {self.share}")

    def presence(self, available: Tensor, modalities: Sequence[str], generator: torch.Generator) -> Tensor:
        columns = named_columns(self.missing, modalities)
        order = torch.randperm(len(available), generator=generator)
        hit = torch.zeros(len(available), dtype=torch.bool)
        hit[order[: round(self.share * len(available))]] = True
        return available & ~(hit[:, None] & columns)


@dataclass(frozen=True)
class WindowOutage:
    """Each window loses the named modalities with a probability, on its own (protocol P4).

    With equal seeds a higher rate takes from the same windows and more: masks are nested.
    """

    missing: tuple[str, ...]
    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise KarmmaError(f"rate of outages must lie in 0–1, not {self.rate}")

    def presence(self, available: Tensor, modalities: Sequence[str], generator: torch.Generator) -> Tensor:
        hit = torch.rand(len(available), generator=generator) < self.rate
        return available & ~(hit[:, None] & named_columns(self.missing, modalities))


def named_columns(missing: Sequence[str], modalities: Sequence[str]) -> Tensor:
    """Which columns `(modalities,)` are named. Raises KarmmaError for an unknown name or none."""
    unknown = [name for name in missing if name not in modalities]
    if unknown or not missing:
        raise KarmmaError(f"modalities to take away {tuple(missing)}: allowed are {', '.join(modalities)}")
    return torch.tensor([name in missing for name in modalities])


@dataclass(frozen=True)
class PublishedMask:
    """Presence as a published CSV says, one row per sample, in the order of the evaluated samples."""

    keep: Tensor

    def presence(self, available: Tensor, modalities: Sequence[str], generator: torch.Generator) -> Tensor:
        if self.keep.shape != available.shape:
            raise KarmmaError(
                f"mask for {tuple(self.keep.shape)} samples and modalities, evaluated are {tuple(available.shape)}"
            )
        return available & self.keep


MASK_COLUMNS = {"has_video": ("rgb", "flow", "detections", "depth"), "has_audio": ("audio",)}


def read_mask(path: Path, samples: Sequence[str], modalities: Sequence[str]) -> PublishedMask:
    """A mask CSV of the MiDl project (columns video_id, has_video, has_audio) for samples by name.

    `has_video` covers what is seen by the camera. Of several views of a sample, as in the files for adaptation, which erase
    each in turn, it has what any of them has. Raises KarmmaError for a missing file, column, sample or a bad cell.
    """
    rows: dict[str, dict[str, bool]] = {}
    for line, row in rows_of(path, ("video_id", *MASK_COLUMNS)):
        flags = rows.setdefault(row["video_id"], {})
        for column, names in MASK_COLUMNS.items():
            if row[column] not in ("True", "False"):
                raise KarmmaError(f"{path}: line {line}: {column} {row[column]!r} is neither True nor False")
            flags |= {name: flags.get(name, False) or row[column] == "True" for name in names}
    lacking = [name for name in samples if name not in rows]
    if lacking:
        raise KarmmaError(f"{path}: no row for {lacking[0]!r} ({len(lacking)} of {len(samples)} samples)")
    return PublishedMask(torch.tensor([[rows[name].get(modality, True) for modality in modalities] for name in samples]))


def training_scenario(drawn: TeacherConfig | MethodConfig) -> Scenario:
    """The δ that a configuration asks for while training."""
    if drawn.subset_weights:
        return WeightedSubsets(drawn.subset_weights)
    if drawn.subsets == "uniform":
        return UniformSubsets()
    return IndependentDropout(drawn.dropout) if drawn.dropout > 0 else Complete()


def stack_presence(present: Mapping[str, Tensor], modalities: Sequence[str]) -> Tensor:
    """`(samples, modalities)` from flags by name."""
    return torch.stack([present[name] for name in modalities], 1)


def split_presence(presence: Tensor, modalities: Sequence[str]) -> dict[str, Tensor]:
    """Flags by name from `(samples, modalities)`."""
    return {name: presence[:, index] for index, name in enumerate(modalities)}
