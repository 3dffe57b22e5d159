"""Cached tokens of frozen extractors: written once in shards, several augmented views of every segment, half precision."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from ..augmentation import Augmentation
from ..files import write_json
from .clips import ClipStore, transform
from .streaming import in_order

Encode = Callable[[Tensor], Tensor]
SEGMENTS_PER_SHARD = 1024
PRESENT = "present"  # beside the modalities' arrays: `(segments, modalities)` bool, whose tokens are there


@dataclass(frozen=True)
class TokenShard:
    """Tokens of the segments from `first` on: `<modality>.npy` `(views, segments, tokens, width)` float16."""

    directory: Path
    first: int

    @cached_property
    def arrays(self) -> dict[str, NDArray[np.float16]]:
        """Memory maps by modality; one that no segment of the shard has is missing."""
        paths = sorted(self.directory.glob("*.npy"))
        return {path.stem: np.load(path, mmap_mode="r") for path in paths if path.stem != PRESENT}


class TokenStore:
    """A directory of shards `<number>/`, each renamed into place when it is whole.

    View 0 is the fixed look at a segment, the others are its looks of that number (`Augmentation.of_looks`).
    """

    def __init__(self, directory: Path, segments_per_shard: int = SEGMENTS_PER_SHARD) -> None:
        self.directory, self.segments_per_shard = directory, segments_per_shard
        folders = sorted(path for path in directory.glob("[0-9]*") if path.is_dir())
        self.shards = [TokenShard(path, int(path.name) * segments_per_shard) for path in folders]

    def __reduce__(self) -> tuple[type[TokenStore], tuple[Path, int]]:
        """Other processes open the files themselves."""
        return TokenStore, (self.directory, self.segments_per_shard)

    @staticmethod
    def write(
        directory: Path, store: ClipStore, encoders: Mapping[str, Encode], views: int, batch_size: int = 32,
        mirror: float = 0.5, on_done: Callable[[int, int], None] | None = None,
        segments_per_shard: int = SEGMENTS_PER_SHARD, workers: int = 0,
    ) -> TokenStore:  # fmt: skip
        """Encode all segments that have a modality, shard by shard; shards that are there are not made again.

        What cannot be read is noted by the store and marked absent. `workers` processes decode for a store that streams.
        """
        directory.mkdir(parents=True, exist_ok=True)
        starts = range(0, len(store), segments_per_shard)
        for number, first in enumerate(starts):
            rows = np.arange(first, min(first + segments_per_shard, len(store)))
            if not (directory / f"{number:06d}").is_dir():
                write_shard(directory / f"{number:06d}", store, rows, encoders, (views, batch_size, mirror, workers))
            if on_done:
                on_done(int(rows[-1]) + 1, len(store))
        return TokenStore(directory, segments_per_shard)

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Whose tokens are there, `(segments, modalities)`, modalities in the order of the store that wrote them."""
        return np.concatenate([np.load(shard.directory / f"{PRESENT}.npy") for shard in self.shards])

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`(views, segments, tokens, width)` by modality, of the first shard that has it; names in order."""
        found = {name: array.shape for shard in reversed(self.shards) for name, array in shard.arrays.items()}
        return dict(sorted(found.items()))

    @property
    def views(self) -> int:
        """How many looks at every segment are stored."""
        return next(iter(self.shapes.values()))[0]

    def looks(self, indices: NDArray[np.int64], views: NDArray[np.int64]) -> dict[str, Tensor]:
        """Tokens `(len(indices), tokens, width)` float32, each segment's all from one view."""
        return {name: self.gather(name, views, indices) for name in self.shapes}

    def gather(self, name: str, views: NDArray[np.int64], indices: NDArray[np.int64]) -> Tensor:
        """Tokens `(len(indices), tokens, width)` of one modality; zeros where a whole shard lacks it."""
        tokens = np.zeros((len(indices), *self.shapes[name][2:]), np.float32)
        numbers = indices // self.segments_per_shard
        for number in np.unique(numbers).tolist():
            shard, here = self.shards[number], numbers == number
            if name in shard.arrays:
                tokens[here] = shard.arrays[name][views[here], indices[here] - shard.first]
        return torch.from_numpy(tokens)


def write_shard(
    target: Path, store: ClipStore, rows: NDArray[np.int64], encoders: Mapping[str, Encode],
    how: tuple[int, int, float, int],
) -> None:  # fmt: skip
    """One shard in a temporary directory, renamed when it is whole."""
    views, batch_size, mirror, workers = how
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    arrays: dict[str, NDArray[np.float16]] = {}
    present = np.zeros((len(rows), len(store.names)), bool)
    for batch, readings in read_batches(store, rows, batch_size, workers):
        for column, name in enumerate(store.names):
            if name not in readings or name not in encoders:
                continue
            place, stored = readings[name]
            present[batch[place] - rows[0], column] = True
            for view in range(views):
                augmentation = Augmentation.of_looks(batch[place].tolist(), [view] * len(place), mirror) if view else None
                tokens = encoders[name](transform(store.modalities[name], name, stored, augmentation))
                if name not in arrays:
                    shape = (views, len(rows), *tokens.shape[1:])
                    arrays[name] = open_memmap(temporary / f"{name}.npy", mode="w+", dtype=np.float16, shape=shape)
                arrays[name][view, batch[place] - rows[0]] = tokens.float().cpu().numpy()
    for array in arrays.values():
        array.flush()  # type: ignore[attr-defined]
    np.save(temporary / f"{PRESENT}.npy", present)
    write_json(temporary / "shard.json", {"first": int(rows[0]), "segments": len(rows), "modalities": list(store.names)})
    temporary.rename(target)


Readings = dict[str, tuple[NDArray[np.int64], Tensor]]


def read_batches(
    store: ClipStore, rows: NDArray[np.int64], batch_size: int, workers: int
) -> Iterator[tuple[NDArray[np.int64], Readings]]:
    """Segments in batches, each with what `ClipStore.stored_batch` gives; decoded by worker processes if it streams."""
    batches = [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
    yield from zip(batches, in_order(store.stored_batch, batches, workers if store.streams else 0), strict=True)
