"""The wearer's head: where the camera is and looks at any second, and what an IMU beside it measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .knobs import KitchenConfig
from .objects import Random
from .stage import HEAD_HEIGHT, Stage
from .tracks import Vector

GRAVITY = 9.81
FOCAL_SHARE = 1.2  # focal length over image width: about 45 degrees across, what eyes and hands are busy with


@dataclass(frozen=True)
class HeadMotion:
    """Smooth random sway of a head, evaluable at any second, plus the eyes' and body's tracks."""

    stage: Stage
    frequencies: Vector
    phases: Vector
    amplitudes: Vector
    height: float

    def pose_at(self, seconds: Vector) -> tuple[Vector, Vector]:
        """Positions `(T, 3)` in metres and axes `(T, 3, 3)`: columns right, down, forward of the camera in the world."""
        sway = (self.amplitudes * np.sin(seconds[:, None, None] * self.frequencies + self.phases)).sum(-1)
        body = smoothed(self.stage, "body", seconds)
        gaze = smoothed(self.stage, "gaze", seconds)
        lean = np.clip(gaze[:, 1] - 0.9, -0.2, 0.5)
        position = np.stack([body[:, 0], self.height - 0.12 * np.maximum(-lean, 0), -0.06 - 0.10 * np.maximum(lean, 0)], -1)
        position = position + sway[:, :3] + self.tremor(seconds)
        forward = gaze - position
        forward /= np.linalg.norm(forward, axis=1, keepdims=True)
        forward = forward + np.cross(forward, sway[:, 3:6])
        forward /= np.linalg.norm(forward, axis=1, keepdims=True)
        tilt = np.stack([np.sin(sway[:, 5] * 2), np.cos(sway[:, 5] * 2), np.zeros(len(seconds))], -1)
        right = np.cross(tilt, forward)
        right /= np.linalg.norm(right, axis=1, keepdims=True)
        return position, np.stack([right, np.cross(right, forward), forward], -1)

    def tremor(self, seconds: Vector) -> Vector:
        shake = np.zeros((len(seconds), 3))
        for tremor in self.stage.tremors:
            inside = (seconds > tremor.start) & (seconds < tremor.stop)
            shake[inside, 1] += tremor.metres * np.sin(2 * np.pi * tremor.rate_hz * (seconds[inside] - tremor.start))
        return shake


def smoothed(stage: Stage, track: str, seconds: Vector) -> Vector:
    """The track averaged over a quarter of a second: eyes and body overshoot no key."""
    offsets = (-0.12, -0.06, 0.0, 0.06, 0.12)
    return np.mean([stage.tracks[track].at(np.maximum(seconds + offset, 0)) for offset in offsets], 0)


def make_head(stage: Stage, config: KitchenConfig, random: Random) -> HeadMotion:
    """Sway of six channels (three metres, three radians), each a sum of slow sines."""
    frequencies = 2 * np.pi * random.uniform(0.1, 1.6, (6, 6))
    scale = np.array([0.012, 0.009, 0.011, 0.042, 0.042, 0.025])[:, None] * config.camera_motion_level
    amplitudes = scale * random.uniform(0.3, 1.0, (6, 6)) / np.sqrt(1 + (frequencies / 4) ** 2)
    height = HEAD_HEIGHT + float(random.normal(0, 0.03)) * config.variety_level
    return HeadMotion(stage, frequencies, random.uniform(0, 2 * np.pi, (6, 6)), amplitudes, height)


def measure_imu(head: HeadMotion, config: KitchenConfig, random: Random) -> Vector:
    """Rows `(N, 7)`: seconds, specific force x y z (m/s²), angular rate x y z (rad/s) in camera axes, with noise and bias."""
    step = 1.0 / config.imu_hz
    seconds = np.arange(0, config.recording_seconds, step)
    before, axes_before = head.pose_at(seconds - step)
    now, axes = head.pose_at(seconds)
    after, axes_after = head.pose_at(seconds + step)
    acceleration = (after - 2 * now + before) / step**2 + np.array([0, GRAVITY, 0])
    force = np.einsum("tij,ti->tj", axes, acceleration)
    change = np.einsum("tki,tkj->tij", axes, (axes_after - axes_before) / (2 * step))
    rate = np.stack([change[:, 2, 1], change[:, 0, 2], change[:, 1, 0]], -1)
    level = config.imu_noise_level
    force = force + level * (random.normal(0, 0.12, force.shape) + random.normal(0, 0.15, 3))
    rate = rate + level * (random.normal(0, 0.015, rate.shape) + random.normal(0, 0.02, 3))
    return np.concatenate([seconds[:, None], force, rate], 1)
