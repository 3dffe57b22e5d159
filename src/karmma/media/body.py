"""A person in depth pictures, seen from three sides: front, side and top views of the points of a segmented body."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]

WINDOW_HEIGHTS = 1.36  # side of the square window, in body heights: room for raised and spread arms
FLOOR_SHARE = 0.05  # of a body height below the feet
PIXELS_PER_VIEW_DOT = 4.0  # so many body pixels on one place of the side or top view count as full


@dataclass(frozen=True)
class BodyFrame:
    """The window around a body that all frames of a clip share: place and side in pixels, depth of the trunk in metres."""

    left: float
    top: float
    side: float
    trunk_metres: float


def crop_to_body(depth_metres: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of all frames `(T, H, W)` outside which there is background in each: several times less to look at."""
    nearest = depth_metres.max(0)
    rows, columns = np.flatnonzero(nearest.max(1) > 0), np.flatnonzero(nearest.max(0) > 0)
    if not len(rows):
        return depth_metres
    return depth_metres[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def find_body(depth_metres: NDArray[np.float32]) -> BodyFrame | None:
    """Window and trunk depth from all frames `(T, H, W)` of a clip; 0 is background. None if nobody is there."""
    body = depth_metres > 0
    rows = [np.flatnonzero(mask.any(1)) for mask in body if mask.any()]
    if not rows:
        return None
    bottoms = np.array([row[-1] for row in rows])
    height = float(np.percentile(bottoms - np.array([row[0] for row in rows]) + 1, 60))
    columns = np.nonzero(body.mean(0) > 0.3)[1]
    if not len(columns):
        columns = np.nonzero(body.any(0))[1]
    side = WINDOW_HEIGHTS * height
    bottom = float(np.median(bottoms)) + FLOOR_SHARE * height
    return BodyFrame(float(np.median(columns)) - side / 2, bottom - side, side, float(np.median(depth_metres[body])))


def draw_views(
    depth_metres: NDArray[np.float32], frame: BodyFrame, size: int, near_metres: float, far_metres: float
) -> Pictures:
    """One frame `(H, W)` as `(size, 2·size)`: front, then side (size × size/2), then top turned upright (size × size/2).

    The front shows nearness, side and top how many body points fall on each place. Depth reaches from `near_metres`
    before the trunk to `far_metres` behind it.
    """
    nearness = np.clip((frame.trunk_metres + far_metres - depth_metres) / (near_metres + far_metres), 0, 1)
    body = depth_metres > 0
    scale = 2 * size / frame.side
    place = np.array([[scale, 0, -frame.left * scale], [0, scale, -frame.top * scale]], np.float32)
    front = shrink((0.3 + 0.7 * nearness) * body, place, size)
    y, x = np.nonzero(body)
    places = np.stack([y - frame.top, x - frame.left]) * size / frame.side
    inside = ((places >= 0) & (places < size)).all(0)
    rows, columns = places[:, inside].astype(np.int64)
    layers = (nearness[y, x][inside] * (size // 2 - 1)).astype(np.int64)
    dot_pixels = PIXELS_PER_VIEW_DOT * (frame.side / (WINDOW_HEIGHTS * 135)) ** 2
    side = count_points(rows, layers, (size, size // 2)) / dot_pixels
    top = count_points(columns, layers, (size, size // 2)) / (1.5 * dot_pixels)
    views = np.concatenate([front, np.minimum(side, 1), np.minimum(top, 1)], 1)
    return np.rint(views * 255).astype(np.uint8)


def shrink(picture: NDArray[np.float32], place: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Cut the window out at twice the size and average down, which keeps thin arms."""
    large = cv2.warpAffine(picture.astype(np.float32), place, (2 * size, 2 * size), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA), np.float32)


def count_points(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.float32]:
    """How many points fall on each place."""
    flat = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(np.float32)
