"""Skeletons: joints of a tracked body in space (Kinect's twenty joints, or any other number)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from ..augmentation import Augmentation
from ..config import STRICT
from ..media.containers import MediaError
from ..media.live import ArrayBuffer
from ..media.series import KEYS, Series, read_series
from ..types import ModalitySpec
from .base import random_rotations, sample_linearly, sample_seconds, warped_positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from ..later import torch

TORSO_LENGTH = 0.5
SHORTEST_TORSO = 1e-3  # of the distance of the farthest joint


@dataclass(frozen=True, config=STRICT)
class Skeleton:
    """`frames` poses spread evenly over a segment, centred at the hip and scaled to one torso length.

    `hip` and `neck` index the joints that give centre and scale; `mirror_pairs` are exchanged when a clip is mirrored.
    Sources: .mat (`d_skel`, joints × 3 × time) or .npz (`skeleton`, time × joints × 3, and `seconds`); y points up.
    """

    frames: int = 48
    joints: int = 20
    hip: int = 3
    neck: int = 1
    mirror_pairs: tuple[tuple[int, int], ...] = ((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19))
    trim: float = 0.15
    bend: float = 0.3
    pace: float = 0.0  # how much speed drifts within a segment: deviation of its logarithm
    turn_degrees: float = 25.0  # about the vertical
    tilt_degrees: float = 8.0
    stretch: float = 0.1
    noise: float = 0.01
    joint_dropout: float = 0.0

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec("skeleton", (self.frames, self.joints, 3), "frames joints xyz")

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        if not source.is_file():
            return None
        matlab = source.suffix == ".mat"
        series = read_series(source, "d_skel" if matlab else KEYS["skeleton"], -1 if matlab else 0)
        if series.values.shape[1:] != (self.joints, 3):
            raise MediaError(f"{source}: joints have shape {series.values.shape[1:]}, expected ({self.joints}, 3)")
        return self.poses(str(source), series, start_seconds, stop_seconds)

    def read_live(self, source: ArrayBuffer, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        series = source.series()
        return None if series is None else self.poses("skeleton", series, start_seconds, stop_seconds)

    def poses(self, source: str, series: Series, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        """The stored form of a segment, or None if nobody was tracked there."""
        if not series.covers(start_seconds, stop_seconds):
            return None
        moments = np.array(sample_seconds(start_seconds, stop_seconds, 4 * self.frames // 3))
        return self.normalised(source, series.at(moments, start_seconds, stop_seconds))

    def normalised(self, source: str, poses: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Centred at the hip's median place, so that moving about stays visible; torso length scaled to one value.

        None where nobody is tracked: all joints on one spot. Raises MediaError where only neck and hip are.
        """
        centred = poses - np.median(poses[:, self.hip], axis=0)
        reach = float(np.abs(centred).max())
        torso = float(np.median(np.linalg.norm(poses[:, self.neck] - poses[:, self.hip], axis=-1)))
        if not reach:
            return None
        if torso < SHORTEST_TORSO * reach:
            raise MediaError(f"{source}: neck and hip lie on one spot: {torso:.2g}, where joints are up to {reach:.2g} away")
        return (centred * (TORSO_LENGTH / torso)).astype(np.float32)

    def stored_zeros(self) -> NDArray[np.float32]:
        return np.zeros((4 * self.frames // 3, self.joints, 3), np.float32)

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        batch = len(stored)
        positions = warped_positions(batch, stored.shape[1], self.frames, augmentation, self.trim, self.bend, self.pace)
        poses = sample_linearly(stored, positions)
        if augmentation is None:
            return poses
        turn = random_rotations(batch, augmentation, (self.tilt_degrees, self.turn_degrees, self.tilt_degrees))
        poses = torch.einsum("bij,btvj->btvi", turn, self.mirror(poses, augmentation.mirrored))
        poses = poses * (1 + augmentation.uniform((batch, 1, 1, 1), -self.stretch, self.stretch))
        poses = poses * (1 + augmentation.uniform((batch, 1, 1, 3), -self.stretch, self.stretch))
        poses = poses + augmentation.normal((batch, 1, self.joints, 3), self.noise)
        poses = poses + augmentation.normal(poses.shape, self.noise / 2)
        lost = augmentation.uniform((batch, 1, self.joints, 1), 0, 1) < self.joint_dropout
        return poses.masked_fill(lost, 0.0)

    def mirror(self, poses: Tensor, mirrored: Tensor) -> Tensor:
        order = list(range(self.joints))
        for left, right in self.mirror_pairs:
            order[left], order[right] = right, left
        flipped = poses[:, :, order] * torch.tensor([-1.0, 1.0, 1.0])
        return torch.where(mirrored.view(-1, 1, 1, 1), flipped, poses)
