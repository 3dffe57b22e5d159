"""Cached tokens of frozen extractors: written once, several augmented views of every segment, half precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from ..types import Augmentation
from .clips import ClipStore

Encode = Callable[[Tensor], Tensor]


class TokenStore:
    """`<modality>.npy` `(views, segments, tokens, width)` float16 in a directory. View 0 is the fixed view."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.arrays: dict[str, NDArray[np.float16]] = {
            path.stem: np.load(path, mmap_mode="r") for path in sorted(directory.glob("*.npy"))
        }

    def __reduce__(self) -> tuple[type[TokenStore], tuple[Path]]:
        """Other processes open the files themselves."""
        return TokenStore, (self.directory,)

    @staticmethod
    def write(
        directory: Path, store: ClipStore, encoders: Mapping[str, Encode], views: int, batch_size: int = 32,
        mirror: float = 0.5, on_done: Callable[[int, int], None] | None = None,
    ) -> TokenStore:  # fmt: skip
        """Encode all segments that have a modality; whole modalities are renamed into place when complete."""
        directory.mkdir(parents=True, exist_ok=True)
        work = [name for name in encoders if not (directory / f"{name}.npy").exists()]
        for position, name in enumerate(work):
            temporary, array = directory / f"{name}.part", None
            rows = np.flatnonzero(store.available[:, store.names.index(name)].numpy())
            for view in range(views):
                for first in range(0, len(rows), batch_size):
                    index = rows[first : first + batch_size]
                    augmentation = Augmentation.draw(len(index), view * 1_000_003 + first, mirror) if view else None
                    stored = store.stored(name, index)
                    tokens = encoders[name](store.modalities[name].transform(stored, augmentation))
                    if array is None:
                        shape = (views, len(store), *tokens.shape[1:])
                        array = open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
                    array[view, index] = tokens.float().cpu().numpy()
            if array is not None:
                array.flush()
                temporary.replace(directory / f"{name}.npy")
            if on_done:
                on_done(position + 1, len(work))
        return TokenStore(directory)

    def draw(self, indices: NDArray[np.int64], seed: int, rows: slice = slice(None)) -> dict[str, Tensor]:
        """Tokens `(rows, tokens, width)` float32 of a random view per segment, for some rows of a batch of segments."""
        random = np.random.default_rng(seed)
        views = {name: random.integers(len(array), size=len(indices)) for name, array in self.arrays.items()}
        return {
            name: torch.from_numpy(array[views[name][rows], indices[rows]].astype(np.float32))
            for name, array in self.arrays.items()
        }
