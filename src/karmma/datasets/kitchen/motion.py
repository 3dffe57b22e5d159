"""Exact depth and optical flow of a rendered frame, from which face every pixel shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class FrameGeometry:
    """One frame's faces: plane `(F, 4)` (normal and offset in camera axes), part of each face, part motion `(P, 3, 4)`.

    `part_motion` takes a camera-space point now to its camera-space place one frame later.
    """

    planes: FloatArray
    part_of_face: NDArray[np.int32]
    part_motion: FloatArray
    focal: float


def pixel_rays(width: int, height: int, focal: float, step: int = 1) -> FloatArray:
    """Camera-space rays `(H/step, W/step, 3)` with z = 1 through pixel centres; `focal` in pixels."""
    x = (np.arange(0, width, step) + 0.5 * step - width / 2) / focal
    y = (np.arange(0, height, step) + 0.5 * step - height / 2) / focal
    grid_x, grid_y = np.meshgrid(x, y)
    return np.stack([grid_x, grid_y, np.ones_like(grid_x)], -1).astype(np.float32)


def depth_and_flow(faces: NDArray[np.int32], geometry: FrameGeometry, rays: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Depth `(H, W)` in metres and flow `(H, W, 2)` in pixels to the next frame; background (face −1) is 0."""
    seen = faces >= 0
    index = np.where(seen, faces, 0)
    planes = geometry.planes.take(index, axis=0)
    slope = np.einsum("hwc,hwc->hw", planes[..., :3], rays)
    depth = np.where(seen, planes[..., 3] / np.where(np.abs(slope) < 1e-6, 1e-6, slope), 0.0)
    depth = np.clip(depth, 0.05, 20.0)
    points = np.concatenate([rays * depth[..., None], np.ones((*depth.shape, 1), np.float32)], -1)
    motion = geometry.part_motion.take(geometry.part_of_face.take(index), axis=0)
    moved = np.einsum("hwij,hwj->hwi", motion, points)
    target = moved[..., :2] / np.maximum(moved[..., 2:], 0.05)
    flow = (target - rays[..., :2]) * geometry.focal
    flow[~seen] = 0.0
    return np.where(seen, depth, 0.0).astype(np.float32), flow.astype(np.float32)
