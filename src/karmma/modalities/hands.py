"""Hands: the joints of both, as headsets and hand trackers deliver them, seen from the head that looks at them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from ..augmentation import Augmentation
from ..config import STRICT, Amount, Count, Probability, Share
from ..media.containers import MediaError
from ..media.live import ArrayBuffer, typical_period
from ..media.series import Series, key_in_file, read_series
from ..skeletons import HANDS, SkeletonLayout, Up
from ..types import ModalitySpec
from .base import random_rotations, sample_linearly, sample_seconds, warped_positions
from .joints import around, fill_lost, in_source_shape, seen_joints, upright

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from ..later import torch

SIDES = ("left", "right")
HELD_SECONDS = 0.1  # for which a hand that is lost stays where it was
FEWEST_JOINTS = 0.5  # of a hand that must be seen for it to count as seen
ARM_PALMS = 20.0  # from the head to a wrist, twice as far as arms are long: a palm measures 9 cm
CROSSED, FEWEST_MOMENTS = 0.8, 20  # share of moments with the left hand to the right from which on sides are doubted, and of how many
SHORTEST_PALM = 1e-3  # of the distance of the farthest joint


@dataclass(frozen=True, config=STRICT)
class Hands:
    """`frames` poses of both hands spread evenly over a segment, in palm lengths (wrist to the root of the middle finger).

    Places count from the head or camera, whatever the unit, since where hands are before it tells what they do; where sources count
    from the room, say `centred`, and they count from the middle between the wrists of a clip. `layout` names a tracker's joints
    (skeletons.HANDS), `up` the axis that points up in the sources, if it is not the layout's. `flat`: x and y of a picture alone.
    A confidence behind a joint's place is left out.
    Sources: .npz (`hands`, time × 2 × joints × 3, left hand first, and `seconds`). A hand that is not in view has no numbers, or all
    its joints on one spot; a segment in which no hand ever is tells that much: it is present, and empty.
    """

    frames: Count = 32
    layout: str = "mediapipe"  # a tracker's joints: mediapipe, openxr, webxr, unity, mano
    up: Up | None = None  # the axis that points up in the sources; none: the layout's
    flat: bool = False  # x and y of pictures
    centred: bool = False  # places count from the middle between the wrists, for sources that count from the room
    trim: Share = 0.1
    bend: Amount = 0.3
    pace: Amount = 0.0  # how much speed drifts within a segment: deviation of its logarithm
    turn_degrees: Amount = 8.0  # about each axis
    stretch: Share = 0.1
    shift_palms: Amount = 0.3
    noise_palms: Amount = 0.05
    hand_dropout: Probability = 0.05  # of each hand, for a whole clip

    def __post_init__(self) -> None:
        if self.layout not in HANDS:
            raise ValueError(f"layout: {self.layout!r} is none of {', '.join(HANDS)}")

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec("hands", (self.frames, len(SIDES), self.hand.joints, 4), "frames hands joints xyz-seen", self.layout)

    @property
    def hand(self) -> SkeletonLayout:
        """Which joint is which."""
        return HANDS[self.layout]

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Those of both hands, the left one's joints first."""
        return tuple((one + first, other + first) for first in (0, self.hand.joints) for one, other in self.hand.bones)

    def drawn_joints(self, clip: NDArray[Any]) -> NDArray[np.float32]:
        """As the head sees them `(frames, 2 · joints, 2)`, nan for a hand that is not in view."""
        return np.where(clip[..., 3:] > 0, clip[..., :2], np.nan).reshape(len(clip), -1, 2).astype(np.float32)

    @property
    def source_shape(self) -> tuple[int, int, int]:
        """Of one moment as sources deliver it, but for confidences."""
        return (len(SIDES), self.hand.joints, 2 if self.flat else 3)

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        if not source.is_file():
            return None
        series = read_series(source, *key_in_file("hands", source.suffix), gaps=True)
        return self.poses(str(source), self.in_shape(source, series), start_seconds, stop_seconds)

    def in_shape(self, source: Path, series: Series) -> Series:
        """A file's values as `(time, 2, joints, coordinates)`, which may also come hand after hand, or number after number."""
        shape, values = series.values.shape[1:], in_source_shape(series.values, self.source_shape)
        if values is None:
            raise MediaError(f"{source}: hands have shape {shape}, expected {self.source_shape}{self.hint(shape)}")
        return replace(series, values=values)

    def hint(self, shape: tuple[int, ...]) -> str:
        """What the recipe might say about hands of another shape; nothing if nobody has such."""
        if len(shape) not in (2, 3) or shape[-1] not in (2, 3, 4):
            return ""
        flat = ", flat: true" if shape[-1] == 2 else ""
        fitting = [name for name, layout in HANDS.items() if math.prod(shape[:-1]) == len(SIDES) * layout.joints]
        one = [name for name, layout in HANDS.items() if shape[-2] == layout.joints and math.prod(shape[:-1]) == layout.joints]
        if one:
            return "; of one hand alone? the other's joints are nan then, left first"
        return f"; modalities.hands: layout: {' or '.join(fitting)}{flat}?" if fitting else ""

    def read_live(self, source: ArrayBuffer, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        series = source.series()
        return None if series is None else self.poses("hands", series, start_seconds, stop_seconds)

    def doubt(self, source: Path) -> str:
        """What speaks against places that count from the head, and against the sides of hands."""
        series = self.in_shape(source, read_series(source, *key_in_file("hands", source.suffix), gaps=True))
        return self.doubt_hands(series.values)

    def doubt_live(self, source: ArrayBuffer) -> str:
        """The same of what a tracker delivered lately."""
        series = source.series()
        return "" if series is None else self.doubt_hands(series.values)

    def doubt_hands(self, hands: NDArray[np.floating]) -> str:
        """Of hands `(time, 2, joints, coordinates)`: nobody's arms are that long, and arms are seldom crossed."""
        hands = hands[..., : self.source_shape[2]].astype(np.float64)  # what is no place has no length in fewer digits
        wrists, roots = hands[:, :, self.hand.hip[0]], hands[:, :, self.hand.neck[0]]
        palms, away = np.linalg.norm(roots - wrists, axis=-1), np.linalg.norm(wrists, axis=-1)
        seen = np.isfinite(palms) & (palms > 0)
        palm, reach = (float(np.median(values[seen])) if seen.any() else 0.0 for values in (palms, away))
        if not (self.flat or self.centred) and reach > ARM_PALMS * palm:
            return f"wrists are {reach / palm:.0f} palm lengths away, arms reach ten: do places count from the room? centred: true"
        both = seen.all(1)
        crossed = float((wrists[both, 0, 0] > wrists[both, 1, 0]).mean()) if both.any() else 0.0
        if self.centred or both.sum() < FEWEST_MOMENTS or crossed < CROSSED:
            return ""
        often = f"in {100 * crossed:.0f} % of the moments that show both"
        why = "are they exchanged (some trackers take every picture for a mirrored one), or does the camera face the person?"
        return f"the left hand lies to the right of the right one {often}: {why}"

    def poses(self, source: str, series: Series, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        """The stored form of a segment, or None if the tracker said nothing there, not even that no hand is in view."""
        if not series.covers(start_seconds, stop_seconds):
            return None
        near = around(series, start_seconds, stop_seconds)
        values, count = near.values[..., : self.source_shape[2]], len(near.values)
        clock = near.seconds
        if clock is None:
            clock = np.array(sample_seconds(start_seconds, stop_seconds, count), np.float64)
        moments = np.array(sample_seconds(start_seconds, stop_seconds, 4 * self.frames // 3))
        stored = self.stored_zeros()
        for side, name in enumerate(SIDES):
            stored[:, side] = self.one_hand(f"{source}: {name} hand", values[:, side], clock, moments)
        return self.normalised(source, stored)

    def one_hand(
        self, whose: str, values: NDArray[np.float32], clock: NDArray[np.float64], moments: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Joints `(moments, joints, 4)`, y up, and whether the hand is in view then; zeros where it is not.

        Raises MediaError where the wrist is never seen though the hand is.
        """
        seen = seen_joints(values, self.flat)
        tracked = np.flatnonzero(seen.mean(1) >= FEWEST_JOINTS)
        found = np.zeros((len(moments), self.hand.joints, 4), np.float32)
        if not len(tracked):
            return found
        if not seen[tracked, self.hand.hip[0]].any():
            raise MediaError(f"{whose}: its wrist (joint {self.hand.hip[0]}) is never seen")
        poses = fill_lost(values[tracked], seen[tracked], clock[tracked])
        poses = np.where(np.isfinite(poses), poses, poses[:, [self.hand.hip[0]]])
        places = np.interp(moments, clock[tracked], np.arange(len(tracked)))
        below = np.floor(places).astype(int)
        above, share = np.minimum(below + 1, len(tracked) - 1), (places - below)[:, None, None]
        joints = upright(poses[below] * (1 - share) + poses[above] * share, self.up or self.hand.up)
        nearest = np.abs(clock[tracked][np.rint(places).astype(int)] - moments)
        in_view = nearest <= max(HELD_SECONDS, typical_period(clock.tolist()))
        found[in_view, :, :3], found[in_view, :, 3] = joints[in_view], 1.0
        return found

    def normalised(self, source: str, stored: NDArray[np.float32]) -> NDArray[np.float32]:
        """In palm lengths. Raises MediaError where wrist and root of the middle finger lie on one spot."""
        seen = stored[:, :, 0, 3] > 0
        if not seen.any():
            return stored
        wrists, roots = stored[seen][:, self.hand.hip[0], :3], stored[seen][:, self.hand.neck[0], :3]
        palm, reach = float(np.median(np.linalg.norm(roots - wrists, axis=-1))), float(np.abs(stored[..., :3]).max())
        if palm < SHORTEST_PALM * reach:
            words = f"{palm:.2g} apart, where places are up to {reach:.2g} away"
            raise MediaError(f"{source}: wrist and root of the middle finger lie on one spot: {words}")
        middle = wrists.mean(0) if self.centred else np.zeros(3, np.float32)
        stored[..., :3] = (stored[..., :3] - middle) / palm * stored[..., 3:]
        return stored

    def stored_zeros(self) -> NDArray[np.float32]:
        return np.zeros((4 * self.frames // 3, len(SIDES), self.hand.joints, 4), np.float32)

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        batch = len(stored)
        positions = warped_positions(batch, stored.shape[1], self.frames, augmentation, self.trim, self.bend, self.pace)
        sampled = sample_linearly(stored, positions)  # of places times seen, so that a hand out of view draws none towards the origin
        seen = (sampled[..., 3:] >= 0.5).to(sampled.dtype)
        joints = sampled[..., :3] / sampled[..., 3:].clamp(min=0.5)
        if augmentation is not None:
            joints, seen = self.mirror(joints, seen, augmentation.mirrored)
            turn = random_rotations(batch, augmentation, (self.turn_degrees,) * 3)
            joints = torch.einsum("bij,bthvj->bthvi", turn, joints)
            joints = joints * (1 + augmentation.uniform((batch, 1, 1, 1, 1), -self.stretch, self.stretch))
            joints = joints + augmentation.normal((batch, 1, 1, 1, 3), self.shift_palms)
            joints = joints + augmentation.normal((batch, 1, *joints.shape[2:]), self.noise_palms)
            joints = joints + augmentation.normal(joints.shape, self.noise_palms / 2)
            seen = seen * (augmentation.uniform((batch, 1, len(SIDES), 1, 1), 0, 1) >= self.hand_dropout)
            joints = joints * torch.tensor([1.0, 1.0, 0.0]) if self.flat else joints
        return torch.cat([joints * seen, seen], -1)

    def mirror(self, joints: Tensor, seen: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
        """The marked clips as in a mirror: left hands become right hands."""
        marked = mirrored.view(-1, 1, 1, 1, 1)
        return torch.where(marked, joints.flip(2) * torch.tensor([-1.0, 1.0, 1.0]), joints), torch.where(marked, seen.flip(2), seen)
