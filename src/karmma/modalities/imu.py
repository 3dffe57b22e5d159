"""Inertial measurements: accelerometer and gyroscope, resampled to a fixed rate or spread over a segment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from ..augmentation import Augmentation
from ..config import STRICT, Amount, Positive, Share
from ..media.containers import MediaError
from ..media.inertial import axes_of, doubt_table, read_matlab_inertial
from ..media.live import RowBuffer
from ..media.series import Series
from ..media.tables import AXES, Columns, read_table, require_finite, rows_between
from ..types import ModalitySpec
from .base import random_rotations, sample_linearly, sample_seconds, varying, warped_positions, window

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from ..later import torch


FILMS = (".mp4", ".mov", ".360", ".lrv")
SLOW = 0.25  # of a clip's samples, over which force is averaged to find its slow part


@dataclass(frozen=True, config=STRICT)
class Imu:
    """`seconds` at `rate_hz`: specific force and angular rate in m/s² and rad/s, for the model as multiples of the given scales.

    `span="window"` takes that long a window around the middle of a segment; `span="segment"` spreads as many samples
    over the whole segment, however long it is. Sources: CSV (m/s², rad/s) or .mat (`d_iner`, whose g and degrees/s are converted).
    `lateral_axis` points to the side of who carries it: it is what mirrored clips turn round (`training.mirror`).
    """

    seconds: Positive = 2.4
    rate_hz: Positive = 50.0
    span: Literal["window", "segment"] = "window"
    shift_seconds: Amount = 0.2
    force_scale_mps2: Positive = 9.81  # of specific force, for the model
    turn_scale_radps: Positive = 1.0  # of angular rate
    lateral_axis: Literal["x", "y", "z"] = "x"  # y where x points ahead, as in ROS
    offset_seconds: float = 0.0  # by how much its clock is ahead of the recording's
    trim: Share = 0.15  # of a segment's span, while training
    bend: Amount = 0.3
    pace: Amount = 0.0  # how much speed drifts within a segment: deviation of its logarithm
    vigour: Amount = 0.0  # how much turning, and force beyond its slow part, are stronger or weaker, drifting as well
    rotate_degrees: Amount = 0.0
    stretch: Share = 0.15
    axis_stretch: Share = 0.0
    bias: Amount = 0.03
    noise: Amount = 0.02

    @property
    def samples(self) -> int:
        return round(self.seconds * self.rate_hz)

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec("imu", (self.samples, len(AXES)), "samples axes")

    def reach(self, start_seconds: float, stop_seconds: float) -> tuple[float, float]:
        return (start_seconds, stop_seconds) if self.span == "segment" else window(start_seconds, stop_seconds, self.seconds)

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        if not source.is_file():
            return None
        return self.resampled(lambda start, stop: self.series(source, start, stop), start_seconds, stop_seconds)

    def read_live(self, source: RowBuffer, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        def recent(start: float, stop: float) -> Series | None:
            return series_of(source.columns(start - 0.1, stop + 0.1))

        return self.resampled(recent, start_seconds, stop_seconds)

    def resampled(
        self, series_between: Callable[[float, float], Series | None], start_seconds: float, stop_seconds: float
    ) -> NDArray[np.float32] | None:
        """The stored form of a segment; `series_between(start, stop)` gives what was measured there, or None."""
        if self.span == "segment":
            start, stop = start_seconds, stop_seconds
            moments = np.array(sample_seconds(start, stop, 2 * self.samples))
        else:
            start, stop = window(start_seconds, stop_seconds, self.seconds + 2 * self.shift_seconds)
            moments = start + np.arange(round((stop - start) * self.rate_hz)) / self.rate_hz
        series = series_between(start + self.offset_seconds, stop + self.offset_seconds)
        if series is None or not series.covers(start_seconds + self.offset_seconds, stop_seconds + self.offset_seconds):
            return None
        return series.at(moments + self.offset_seconds, start_seconds, stop_seconds)

    def series(self, source: Path, start_seconds: float, stop_seconds: float) -> Series | None:
        """What was measured around a stretch of time, or None if nothing was."""
        if source.suffix == ".mat":
            return read_matlab_inertial(source)
        if source.suffix.lower() in FILMS:
            raise MediaError(f"{source}: is a film; `karmma convert gopro-imu` makes a table of what a GoPro measured beside it")
        rows = rows_between(read_table(source, AXES), start_seconds - 0.1, stop_seconds + 0.1)
        require_finite(source, rows)
        return series_of(rows)

    def doubt(self, source: Path) -> str:
        """What speaks against the units of a table; .mat files have units of their own."""
        return doubt_table(source) if source.suffix.lower() == ".csv" else ""

    def stored_zeros(self) -> NDArray[np.float32]:
        window = round((self.seconds + 2 * self.shift_seconds) * self.rate_hz)
        return np.zeros((2 * self.samples if self.span == "segment" else window, len(AXES)), np.float32)

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        values = self.cut(stored, augmentation)
        values = values * torch.tensor([1 / self.force_scale_mps2] * 3 + [1 / self.turn_scale_radps] * 3)
        if augmentation is None:
            return values
        if self.vigour:
            values = self.moved_otherwise(values, augmentation)
        lateral = torch.tensor([axis == self.lateral_axis for axis in "xyz"])
        flip = torch.cat([1.0 - 2 * lateral, 2.0 * lateral - 1])  # force to the side, and turns about the two other axes
        values = torch.where(augmentation.mirrored.view(-1, 1, 1), values * flip, values)
        if self.rotate_degrees:
            turn = random_rotations(len(values), augmentation, (self.rotate_degrees,) * 3)
            values = torch.einsum("bij,btsj->btsi", turn, values.unflatten(2, (2, 3))).flatten(2)
        values = values * augmentation.uniform((len(values), 1, 1), 1 - self.stretch, 1 + self.stretch)
        values = values * augmentation.uniform((len(values), 1, 6), 1 - self.axis_stretch, 1 + self.axis_stretch)
        return values + augmentation.normal((len(values), 1, 6), self.bias) + augmentation.normal(values.shape, self.noise)

    def moved_otherwise(self, values: Tensor, augmentation: Augmentation) -> Tensor:
        """As of somebody who moves more or less in the same posture: the slow part of force, mostly gravity, stays as it is."""
        factors = varying(len(values), values.shape[1], augmentation, self.vigour)[..., None]
        force, window = values[..., :3], 2 * (round(SLOW * self.samples) // 2) + 1
        slow = torch.nn.functional.avg_pool1d(force.transpose(1, 2), window, 1, window // 2, count_include_pad=False).transpose(1, 2)
        return torch.cat([slow + (force - slow) * factors, values[..., 3:] * factors], -1)

    def cut(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        """The samples the model gets: a window shifted at random, or a time warp of the whole segment."""
        if self.span == "segment":
            positions = warped_positions(len(stored), stored.shape[1], self.samples, augmentation, self.trim, self.bend, self.pace)
            return sample_linearly(stored, positions)
        spare = stored.shape[1] - self.samples
        if augmentation is None:
            return stored[:, spare // 2 : spare // 2 + self.samples]
        firsts = augmentation.integers((len(stored),), spare + 1).tolist()
        return torch.stack([clip[first : first + self.samples] for clip, first in zip(stored, firsts, strict=True)])


def series_of(rows: Columns) -> Series | None:
    """A table's axes over time, or None where there are not two rows to interpolate between."""
    if len(rows["seconds"]) < 2:
        return None
    return Series(axes_of(rows).astype(np.float32), rows["seconds"])
