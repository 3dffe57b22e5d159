"""What every modality offers: reading by seconds into a compact stored form, and turning that into a model's input."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..types import Augmentation, ModalitySpec


class Modality(Protocol):
    """A sensor. Implementations are frozen dataclasses whose fields are the recipe's keys below `modalities.<name>`."""

    @property
    def spec(self) -> ModalitySpec: ...

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[Any] | None:
        """The stored form of a segment, or None when the source does not have this modality there (absent, not silent)."""

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        """Stored clips `(batch, …)` to float32 inputs `(batch, *spec.input_shape)`; no augmentation means the fixed view."""


def sample_seconds(start_seconds: float, stop_seconds: float, count: int) -> list[float]:
    """Centres of `count` equal pieces of a segment."""
    return [start_seconds + (stop_seconds - start_seconds) * (index + 0.5) / count for index in range(count)]


def window(start_seconds: float, stop_seconds: float, seconds: float) -> tuple[float, float]:
    """A window of fixed length around the middle of a segment."""
    middle = (start_seconds + stop_seconds) / 2
    return middle - seconds / 2, middle + seconds / 2


def pick_frames(stored: Tensor, frames: int, augmentation: Augmentation | None) -> Tensor:
    """`frames` of twice as many stored instants `(batch, 2·frames, …)`: of every pair one, at random while training."""
    batch = len(stored)
    second = torch.zeros(batch, frames, dtype=torch.long)
    if augmentation is not None:
        second = torch.randint(2, (batch, frames), generator=augmentation.generator)
    index = torch.arange(frames) * 2 + second
    return stored[torch.arange(batch)[:, None], index]


def crop(pictures: Tensor, height: int, width: int, augmentation: Augmentation | None) -> Tensor:
    """Crop `(batch, T, H, W, C)` to height × width: the middle, or one random place per clip while training."""
    free_y, free_x = pictures.shape[2] - height, pictures.shape[3] - width
    if augmentation is None:
        y, x = free_y // 2, free_x // 2
        return pictures[:, :, y : y + height, x : x + width]
    ys = torch.randint(free_y + 1, (len(pictures),), generator=augmentation.generator).tolist()
    xs = torch.randint(free_x + 1, (len(pictures),), generator=augmentation.generator).tolist()
    return torch.stack([clip[:, y : y + height, x : x + width] for clip, y, x in zip(pictures, ys, xs, strict=True)])


def mirror_pictures(pictures: Tensor, mirrored: Tensor) -> Tensor:
    """Flip the marked clips `(batch, T, H, W, C)` left–right."""
    return torch.where(mirrored.view(-1, 1, 1, 1, 1), pictures.flip(3), pictures)


def view(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
