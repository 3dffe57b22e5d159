"""Inertial measurements: accelerometer and gyroscope, resampled to a fixed rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import STRICT
from ..media.tables import read_table, rows_between
from ..types import Augmentation, ModalitySpec
from .base import window

AXES = ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z")


@dataclass(frozen=True, config=STRICT)
class Imu:
    """`seconds` at `rate_hz`: specific force (m/s²) and angular rate (rad/s), as multiples of the given scales."""

    seconds: float = 2.4
    rate_hz: float = 50.0
    shift_seconds: float = 0.2
    force_scale: float = 9.81
    turn_scale: float = 1.0
    offset_seconds: float = 0.0

    @property
    def samples(self) -> int:
        return round(self.seconds * self.rate_hz)

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec("imu", (self.samples, len(AXES)), "samples axes")

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        if not source.is_file():
            return None
        start, stop = window(start_seconds, stop_seconds, self.seconds + 2 * self.shift_seconds)
        start, stop = start + self.offset_seconds, stop + self.offset_seconds
        rows = rows_between(read_table(source), start - 0.1, stop + 0.1)
        if len(rows["seconds"]) < 2:
            return None
        moments = start + np.arange(round((stop - start) * self.rate_hz)) / self.rate_hz
        return np.stack([np.interp(moments, rows["seconds"], rows[axis]) for axis in AXES], -1).astype(np.float32)

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        spare = stored.shape[1] - self.samples
        scale = torch.tensor([1 / self.force_scale] * 3 + [1 / self.turn_scale] * 3)
        if augmentation is None:
            return stored[:, spare // 2 : spare // 2 + self.samples] * scale
        firsts = torch.randint(spare + 1, (len(stored),), generator=augmentation.generator).tolist()
        values = torch.stack([clip[first : first + self.samples] for clip, first in zip(stored, firsts, strict=True)])
        flip = torch.tensor([-1.0, 1, 1, 1, -1, -1])
        values = torch.where(augmentation.mirrored.view(-1, 1, 1), values * flip, values) * scale
        values = values * augmentation.uniform((len(values), 1, 1), 0.85, 1.15)
        return values + augmentation.normal((len(values), 1, 6), 0.03) + augmentation.normal(values.shape, 0.02)
