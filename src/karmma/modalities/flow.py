"""Optical flow, computed from the video between pairs of frames a fixed time apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from ..augmentation import Augmentation
from ..config import STRICT, Amount, Count, Positive
from ..media.flow import Preset, compute_flows, quantise, read_flow
from ..media.live import FrameBuffer
from ..media.pictures import FLOW, PictureSequence, compute_picture_flow, read_picture_flow
from ..media.video import HELD_SECONDS, read_frames
from ..types import ModalitySpec
from .base import crop, mirror_pictures, pick_frames, sample_seconds

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from ..later import torch


@dataclass(frozen=True, config=STRICT)
class Flow:
    """`frames` flow fields of height × width; motion within `step_seconds`, bounded at `bound_pixels`, stored in bytes.

    Flow that somebody has computed comes as grey pictures that reach from −`pictures_bound_pixels` to + within `step_seconds`, where
    the data set does not say what whoever made them chose (that of EPIC-KITCHENS does; a bound of 20 is common).
    """

    frames: Count = 8
    height: Count = 64
    width: Count = 80
    margin: Amount = 0.15
    step_seconds: Positive = 1 / 15
    bound_pixels: Positive = 10.0
    preset: Preset = "auto"
    pictures_bound_pixels: Positive = 20.0
    with_speed: bool = False  # a third channel with the length of the motion, for networks that take three

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec(
            "flow", (self.frames, self.height, self.width, 3 if self.with_speed else 2), "frames height width xy"
        )

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width of what is read."""
        return round(self.height * (1 + self.margin)), round(self.width * (1 + self.margin))

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.int8] | None:
        if source.suffix == ".npz":
            return self.read_prepared(source, start_seconds, stop_seconds)
        height, width = self.stored_size
        moments = sample_seconds(start_seconds, stop_seconds, 2 * self.frames)
        fields = compute_flows(
            lambda both: read_frames(source, both, width, height, HELD_SECONDS), moments, self.step_seconds, self.preset
        )
        return quantise(fields, self.bound_pixels)

    def read_prepared(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.int8]:
        """Flow that `karmma prepare` has computed, at this size and pace: motion is taken to be even within a step."""
        height, width = self.stored_size
        fields, seconds, step_seconds = read_flow(source)
        nearest = [int(np.abs(seconds - moment).argmin()) for moment in sample_seconds(start_seconds, stop_seconds, 2 * self.frames)]
        scale = np.array([width / fields.shape[2], height / fields.shape[1]], np.float32) * (self.step_seconds / step_seconds)
        resized = [cv2.resize(fields[index], (width, height), interpolation=cv2.INTER_AREA) * scale for index in nearest]
        return quantise(np.stack(resized), self.bound_pixels)

    def read_pictures(self, source: PictureSequence, start_seconds: float, stop_seconds: float) -> NDArray[np.int8]:
        height, width = self.stored_size
        moments = sample_seconds(start_seconds, stop_seconds, 2 * self.frames)
        if source.part == FLOW:
            fields = read_picture_flow(source, moments, width, height, self.pictures_bound_pixels, self.step_seconds)
        else:
            fields = compute_picture_flow(source, moments, width, height, self.step_seconds, self.preset)
        return quantise(fields, self.bound_pixels)

    def read_live(self, source: FrameBuffer, start_seconds: float, stop_seconds: float) -> NDArray[np.int8] | None:
        height, width = self.stored_size
        if not source.covers(start_seconds, stop_seconds):
            return None
        moments = sample_seconds(start_seconds, stop_seconds, 2 * self.frames)
        fields = [source.flow(moment, moment + self.step_seconds, width, height, self.preset) for moment in moments]
        return quantise(np.stack(fields), self.bound_pixels)

    def stored_zeros(self) -> NDArray[np.int8]:
        return np.zeros((2 * self.frames, *self.stored_size, 2), np.int8)

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        fields = crop(pick_frames(stored, self.frames, augmentation), self.height, self.width, augmentation)
        if augmentation is not None:
            fields = mirror_pictures(fields, augmentation.mirrored)
        floats = fields.float() * (4 / 127)
        if augmentation is not None:
            sign = 1 - 2 * augmentation.mirrored.float()
            floats = floats * torch.stack([sign, torch.ones_like(sign)], -1).view(-1, 1, 1, 1, 2)
            floats = floats * augmentation.uniform((len(floats), 1, 1, 1, 1), 0.8, 1.25)
        return torch.cat([floats, floats.norm(dim=-1, keepdim=True)], -1) if self.with_speed else floats
