"""Motion as keyframes: a track holds (second, vector) keys and is evaluated anywhere in between with minimum jerk."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass
class Track:
    """Keys in rising time; between two keys the value moves like a reaching hand does (minimum jerk)."""

    seconds: list[float] = field(default_factory=list)
    values: list[Vector] = field(default_factory=list)

    def key(self, second: float, value: Vector | tuple[float, ...]) -> None:
        """Set the value at `second` and forget every later key (a new plan replaces the old one)."""
        cut = bisect.bisect_left(self.seconds, second - 1e-9)
        del self.seconds[cut:], self.values[cut:]
        self.seconds.append(second)
        self.values.append(np.asarray(value, float))

    def stay(self, second: float) -> None:
        """Keep the last value until `second`, so that the next key starts moving only then."""
        if self.seconds and self.seconds[-1] < second:
            self.key(second, self.values[-1])

    def jump(self, second: float, value: Vector | tuple[float, ...]) -> None:
        """Change at once, as when a thing leaves the world out of sight."""
        self.stay(second)
        self.key(second + 1e-3, value)

    @property
    def last(self) -> Vector:
        return self.values[-1]

    def at(self, seconds: Vector) -> Vector:
        """Values `(T, D)` at `seconds` `(T,)`."""
        times, values = np.array(self.seconds), np.stack(self.values)
        after = np.clip(np.searchsorted(times, seconds, side="right"), 1, max(len(times) - 1, 1))
        if len(times) == 1:
            return np.repeat(values, len(seconds), 0)
        before = after - 1
        share = np.clip((seconds - times[before]) / np.maximum(times[after] - times[before], 1e-9), 0, 1)
        eased = share**3 * (10 - 15 * share + 6 * share**2)
        return values[before] + (values[after] - values[before]) * eased[:, None]


def rotations(yaw: Vector, pitch: Vector, roll: Vector) -> Vector:
    """Rotation matrices `(T, 3, 3)`: roll about z, then pitch about x, then yaw about y (radians)."""
    zeros, ones = np.zeros_like(yaw), np.ones_like(yaw)
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.stack([cy, zeros, sy, zeros, ones, zeros, -sy, zeros, cy], -1).reshape(-1, 3, 3)
    about_x = np.stack([ones, zeros, zeros, zeros, cp, -sp, zeros, sp, cp], -1).reshape(-1, 3, 3)
    about_z = np.stack([cr, -sr, zeros, sr, cr, zeros, zeros, zeros, ones], -1).reshape(-1, 3, 3)
    return about_y @ about_x @ about_z


def placements(poses: Vector) -> Vector:
    """Homogeneous transforms `(T, 4, 4)` of poses `(T, 6)`: x, y, z, yaw, pitch, roll."""
    matrices = np.tile(np.eye(4), (len(poses), 1, 1))
    matrices[:, :3, :3] = rotations(poses[:, 3], poses[:, 4], poses[:, 5])
    matrices[:, :3, 3] = poses[:, :3]
    return matrices
