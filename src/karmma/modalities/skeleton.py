"""Skeletons: joints of a tracked body in space or in a picture, as common trackers deliver them or in an order of your own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from ..augmentation import Augmentation
from ..config import STRICT, Amount, Count, Share
from ..media.containers import MediaError
from ..media.live import ArrayBuffer
from ..media.series import Series, key_in_file, read_series
from ..skeletons import LAYOUTS, SkeletonLayout, Up
from ..types import ModalitySpec
from .base import random_rotations, sample_linearly, sample_seconds, warped_positions
from .joints import around, fill_lost, in_source_shape, seen_joints, upright, within

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from ..later import torch

TORSO_LENGTH = 0.5
SHORTEST_TORSO = 1e-3  # of the distance of the farthest joint
DEFAULT_LAYOUT = "utd_mhad"


@dataclass(frozen=True, config=STRICT)
class Skeleton:
    """`frames` poses spread evenly over a segment, centred at the hip and scaled to one torso length.

    `layout` names a tracker's joints (skeletons.LAYOUTS; UTD-MHAD's if nothing is said); for an order of your own there are
    `joints`, how many, `hip` and `neck`, which of them give centre and scale, and `mirror_pairs`, which are exchanged when a clip is
    mirrored. `up`: the axis that points up in the sources, if it is not the layout's. `flat`: sources hold x and y of a picture
    alone. A confidence behind a joint's place is left out.
    Sources: .mat (`d_skel`, joints × 3 × time) or .npz (`skeleton`, time × joints × 3, and `seconds`). Lost joints are filled
    (modalities.joints); one that is never seen lies at the hip.
    """

    frames: Count = 48
    layout: str = ""  # a tracker's joints: utd_mhad, kinect, kinect_v2, azure_kinect, coco, mediapipe, openpose, human36m, smpl
    joints: Count | None = None  # in an order of your own: how many
    hip: int | None = None  # and which of them gives the centre
    neck: int | None = None  # and with it the scale
    mirror_pairs: tuple[tuple[int, int], ...] | None = None  # and which are left and right
    up: Up | None = None  # the axis that points up in the sources; none: the layout's
    flat: bool = False  # x and y of pictures
    trim: Share = 0.15
    bend: Amount = 0.3
    pace: Amount = 0.0  # how much speed drifts within a segment: deviation of its logarithm
    turn_degrees: Amount = 25.0  # about the vertical
    tilt_degrees: Amount = 8.0
    stretch: Share = 0.1
    noise: Amount = 0.01
    joint_dropout: Share = 0.0

    def __post_init__(self) -> None:
        own = {"joints": self.joints, "hip": self.hip, "neck": self.neck}
        given = [name for name, value in {**own, "mirror_pairs": self.mirror_pairs}.items() if value is not None]
        if self.layout and self.layout not in LAYOUTS:
            raise ValueError(f"layout: {self.layout!r} is none of {', '.join(LAYOUTS)}; without one give joints, hip, neck")
        if self.layout and given:
            raise ValueError(f"layout: {self.layout} says itself which joints there are; leave out {', '.join(given)}")
        if given and None in own.values():
            missing = ", ".join(name for name, value in own.items() if value is None)
            raise ValueError(f"joints in an order of your own need {missing}, too; named layouts are {', '.join(LAYOUTS)}")
        named = [self.hip or 0, self.neck or 0, *(joint for pair in self.mirror_pairs or () for joint in pair)]
        if self.joints is not None and not all(0 <= joint < self.joints for joint in named):
            raise ValueError(f"hip, neck and mirror_pairs must be of 0 to {self.joints - 1}")

    @property
    def spec(self) -> ModalitySpec:
        name = self.layout or (DEFAULT_LAYOUT if self.joints is None else "")
        return ModalitySpec("skeleton", (self.frames, self.body.joints, 3), "frames joints xyz", name)

    @property
    def body(self) -> SkeletonLayout:
        """Which joint is which."""
        if self.joints is None or self.hip is None or self.neck is None:
            return LAYOUTS[self.layout or DEFAULT_LAYOUT]
        joints = range(self.joints)
        return SkeletonLayout(tuple(map(str, joints)), tuple(joints), (self.hip,), (self.neck,), (), "y")

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Each joint and the one that it hangs on; none in an order of your own."""
        return self.body.bones

    def drawn_joints(self, clip: NDArray[Any]) -> NDArray[np.float32]:
        """Seen from the front `(frames, joints, 2)`."""
        return np.asarray(clip[..., :2], np.float32)

    @property
    def source_shape(self) -> tuple[int, int]:
        """Of one pose as sources deliver it, but for confidences."""
        return (self.body.joints, 2 if self.flat else 3)

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        if not source.is_file():
            return None
        matlab = source.suffix == ".mat"
        series = read_series(source, *key_in_file("skeleton", source.suffix), gaps=not matlab)
        shape, values = series.values.shape[1:], in_source_shape(series.values, self.source_shape)
        if values is None:
            raise MediaError(f"{source}: joints have shape {shape}, expected {self.source_shape}{self.hint(shape)}")
        return self.poses(str(source), replace(series, values=values), start_seconds, stop_seconds)

    def hint(self, shape: tuple[int, ...]) -> str:
        """What the recipe might say about joints of another shape; nothing if nobody has such."""
        if len(shape) == 3:
            return "; of several bodies choose the one that is to be recognised"
        if len(shape) != 2 or shape[1] not in (2, 3):
            return ""
        flat = ", flat: true" if shape[1] == 2 else ""
        if shape[0] == self.body.joints:
            return f"; modalities.skeleton: {flat.removeprefix(', ')}?"
        fitting = [name for name, layout in LAYOUTS.items() if layout.joints == shape[0]]
        return f"; modalities.skeleton: layout: {' or '.join(fitting)}{flat}?" if fitting else ""

    def read_live(self, source: ArrayBuffer, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        series = source.series()
        return None if series is None else self.poses("skeleton", series, start_seconds, stop_seconds)

    def poses(self, source: str, series: Series, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        """The stored form of a segment, or None if nobody was tracked there.

        Raises MediaError where hip or neck are never seen, or nothing is a number.
        """
        near = around(series, start_seconds, stop_seconds)
        near = replace(near, values=near.values[..., : self.source_shape[1]])
        seen = seen_joints(near.values, self.flat)
        inside = within(near, start_seconds, stop_seconds)
        if not seen[inside].any():
            if inside.any() and not np.isfinite(near.values[inside]).any():
                raise MediaError(f"{source}: all values are not finite from {start_seconds:.3f} to {stop_seconds:.3f} s")
            return None
        if not seen.all():
            near = replace(near, values=self.filled(source, near, seen))
        moments = np.array(sample_seconds(start_seconds, stop_seconds, 4 * self.frames // 3))
        return self.normalised(source, upright(near.at(moments, start_seconds, stop_seconds), self.up or self.body.up))

    def filled(self, source: str, series: Series, seen: NDArray[np.bool_]) -> NDArray[np.float32]:
        """A series' poses with joints in place of those that were lost; never seen ones lie at the hip."""
        for name, joints in (("hip", self.body.hip), ("neck", self.body.neck)):
            if not seen[:, list(joints)].any(0).all():
                raise MediaError(f"{source}: the {name} is never seen: joints {', '.join(self.body.names[joint] for joint in joints)}")
        moments = np.arange(float(len(seen))) if series.seconds is None else series.seconds
        poses = fill_lost(series.values, seen, moments)
        hips = poses[:, list(self.body.hip)].mean(1, keepdims=True)
        return np.where(np.isfinite(poses), poses, hips)

    def normalised(self, source: str, poses: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Centred at the hip's median place, so that moving about stays visible; torso length scaled to one value.

        None where nobody is tracked: all joints on one spot. Raises MediaError where only neck and hip are.
        """
        hips, necks = (poses[:, list(joints)].mean(1) for joints in (self.body.hip, self.body.neck))
        centred = poses - np.median(hips, axis=0)
        reach = float(np.abs(centred).max())
        torso = float(np.median(np.linalg.norm(necks - hips, axis=-1)))
        if not reach:
            return None
        if torso < SHORTEST_TORSO * reach:
            raise MediaError(f"{source}: neck and hip lie on one spot: {torso:.2g}, where joints are up to {reach:.2g} away")
        return (centred * (TORSO_LENGTH / torso)).astype(np.float32)

    def stored_zeros(self) -> NDArray[np.float32]:
        return np.zeros((4 * self.frames // 3, self.body.joints, 3), np.float32)

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
        joints = self.body.joints
        poses = poses + augmentation.normal((batch, 1, joints, 3), self.noise)
        poses = poses + augmentation.normal(poses.shape, self.noise / 2)
        lost = augmentation.uniform((batch, 1, joints, 1), 0, 1) < self.joint_dropout
        poses = poses.masked_fill(lost, 0.0)
        return poses * torch.tensor([1.0, 1.0, 0.0]) if self.flat else poses

    def mirror(self, poses: Tensor, mirrored: Tensor) -> Tensor:
        order = list(range(self.body.joints))
        for left, right in self.body.mirror_pairs if self.mirror_pairs is None else self.mirror_pairs:
            order[left], order[right] = right, left
        flipped = poses[:, :, order] * torch.tensor([-1.0, 1.0, 1.0])
        return torch.where(mirrored.view(-1, 1, 1, 1), flipped, poses)
