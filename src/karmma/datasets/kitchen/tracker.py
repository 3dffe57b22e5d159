"""What a headset's hand tracker would report: joints of both hands seen from the head, with jitter, losses and a limited view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .hands import FINGER_LENGTHS
from .head import HeadMotion
from .knobs import KitchenConfig
from .objects import Random
from .placement import hand_bones
from .tracks import Vector

HALF_VIEW = (1.0, 1.1)  # how far to the side, and down or up, per metre ahead it sees: wider than the camera
BIAS_METRES, DRIFT_METRES, JITTER_METRES = 0.006, 0.004, 0.002  # of a whole hand, of one for a while, of each joint
LOSSES_HZ, LOST_SECONDS = 0.15, 0.35  # how often a hand in view is lost, and for how long in the mean
DRIFT_SECONDS = 0.5


def track_hands(head: HeadMotion, config: KitchenConfig, random: Random) -> dict[str, NDArray[np.floating]]:
    """`seconds` and `hands` `(T, 2, 21, 3)` in metres, left first: x to the right of the head, y up, z behind it. nan out of view.

    Joints as MediaPipe has them: wrist, then four each of thumb, index, middle, ring and little finger.
    """
    seconds = np.arange(0, config.recording_seconds, 1 / config.hands_hz)
    position, axes = head.pose_at(seconds)
    hands = []
    for hand in ("left", "right"):
        joints = hand_joints(head, hand, seconds)
        camera = np.einsum("tij,tvi->tvj", axes, joints - position[:, None])  # right, down, forward
        seen = in_view(camera) & ~lost_moments(seconds, config, random)
        noisy = camera + tracking_noise(camera.shape, config, random)
        hands.append(np.where(seen[:, None, None], noisy * np.array([1, -1, -1]), np.nan))
    return {"seconds": seconds, "hands": np.stack(hands, 1).astype(np.float16)}


def hand_joints(head: HeadMotion, hand: str, seconds: Vector) -> Vector:
    """Joints of one hand in the world, `(T, 21, 3)`, out of its bones; the outer joint of a finger lies amid its last bone."""
    bones = hand_bones(head.stage, hand, seconds)
    scale = head.stage.kitchen.habits.hand_scale
    fingers = range(4) if hand == "left" else range(3, -1, -1)  # the index finger is beside the thumb
    chains = [("thumb_a", "thumb_b", 0.032)]
    chains += [(f"finger{index}a", f"finger{index}b", 0.95 * FINGER_LENGTHS[index]) for index in fingers]
    joints = [bones["palm"][:, :3, 3]]
    for first, second, metres in chains:
        start = bones[second][:, :3, 3]
        along = bones[second][:, :3, 1] * metres * scale
        joints += [bones[first][:, :3, 3], start, start + along / 2, start + along]
    return np.stack(joints, 1)


def in_view(camera: Vector) -> NDArray[np.bool_]:
    """Whether the middle of the joints `(T, joints, 3)` (right, down, forward) lies where the tracker looks."""
    middle = camera.mean(1)
    ahead = np.maximum(middle[:, 2], 1e-3)
    return np.asarray((middle[:, 2] > 0.05) & (np.abs(middle[:, :2]) < np.array(HALF_VIEW) * ahead[:, None]).all(1))


def lost_moments(seconds: Vector, config: KitchenConfig, random: Random) -> NDArray[np.bool_]:
    """Moments at which a hand in view is not found, in stretches."""
    lost = np.zeros(len(seconds), np.bool_)
    count = random.poisson(LOSSES_HZ * config.hand_noise_level * config.recording_seconds)
    for start in random.uniform(0, config.recording_seconds, count):
        lost |= (seconds >= start) & (seconds < start + random.exponential(LOST_SECONDS))
    return lost


def tracking_noise(shape: tuple[int, ...], config: KitchenConfig, random: Random) -> Vector:
    """Errors in metres: of the recording, of half a second, of each joint at each moment."""
    moments = shape[0]
    knots = max(int(moments / config.hands_hz / DRIFT_SECONDS), 1) + 2
    places = np.linspace(0, knots - 1, moments)
    drift = np.stack([np.interp(places, np.arange(knots), random.normal(0, DRIFT_METRES, knots)) for _ in range(3)], -1)
    noise = random.normal(0, BIAS_METRES, 3) + drift[:, None] + random.normal(0, JITTER_METRES, shape)
    return np.asarray(config.hand_noise_level * noise)
