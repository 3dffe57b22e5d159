"""RGB video: frames spread evenly over a segment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from ..augmentation import Augmentation
from ..config import STRICT, Amount, Count, Positive, Share
from ..media.live import FrameBuffer
from ..media.pictures import PictureSequence, read_picture_frames
from ..media.video import HELD_SECONDS, read_frames
from ..types import ModalitySpec
from .base import crop, mirror_pictures, pick_frames, sample_seconds

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from ..later import torch


@dataclass(frozen=True, config=STRICT)
class Rgb:
    """`frames` pictures of height × width pixels (RGB order); `margin` is what random crops have to spare on each axis."""

    frames: Count = 8
    height: Count = 64
    width: Count = 80
    margin: Amount = 0.15
    mean: tuple[float, float, float] = (0.45, 0.42, 0.40)
    std: tuple[Positive, Positive, Positive] = (0.22, 0.22, 0.22)
    colour_jitter: Share = 0.25

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec("rgb", (self.frames, self.height, self.width, 3), "frames height width channels")

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width of what is read."""
        return round(self.height * (1 + self.margin)), round(self.width * (1 + self.margin))

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.uint8] | None:
        height, width = self.stored_size
        moments = sample_seconds(start_seconds, stop_seconds, 2 * self.frames)
        return read_frames(source, moments, width, height, HELD_SECONDS)

    def read_pictures(self, source: PictureSequence, start_seconds: float, stop_seconds: float) -> NDArray[np.uint8]:
        height, width = self.stored_size
        return read_picture_frames(source, sample_seconds(start_seconds, stop_seconds, 2 * self.frames), width, height)

    def read_live(self, source: FrameBuffer, start_seconds: float, stop_seconds: float) -> NDArray[np.uint8] | None:
        height, width = self.stored_size
        if not source.covers(start_seconds, stop_seconds):
            return None
        return source.frames(sample_seconds(start_seconds, stop_seconds, 2 * self.frames), width, height)

    def stored_zeros(self) -> NDArray[np.uint8]:
        return np.zeros((2 * self.frames, *self.stored_size, 3), np.uint8)

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        pictures = crop(pick_frames(stored, self.frames, augmentation), self.height, self.width, augmentation)
        if augmentation is not None:
            pictures = mirror_pictures(pictures, augmentation.mirrored)
        floats = pictures.float() / 255
        if augmentation is not None and self.colour_jitter:
            gain = 1 + augmentation.uniform((len(floats), 1, 1, 1, 3), -1, 1) * self.colour_jitter * 0.4
            level = 1 + augmentation.uniform((len(floats), 1, 1, 1, 1), -1, 1) * self.colour_jitter
            shift = augmentation.uniform((len(floats), 1, 1, 1, 1), -1, 1) * self.colour_jitter * 0.4
            floats = floats * (gain * level) + shift
        return (floats - torch.tensor(self.mean)) / torch.tensor(self.std)
