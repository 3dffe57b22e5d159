"""A person in depth pictures, seen from three sides: front, side and top views of the points of a segmented body.

Points can be turned about the vertical through the middle of the window before they are drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]

WINDOW_HEIGHTS = 1.36  # side of the square window, in body heights: room for raised and spread arms
FLOOR_SHARE = 0.05  # of a body height below the feet
BODY_METRES = 1.65  # how tall a body is taken to be: cameras do not say what a pixel measures
FULL_SHARE = 0.7  # front: a place with this share of the pixels that fall on it in the mean is full
IN_FRONT = 10.0  # front: of points on one place, those this many times nearer by e count for one that is not
MOST_REPEATS = 8  # of a pixel of a body that is smaller than its drawing, to either side; more would only fill memory
PIXELS_PER_VIEW_DOT = 4.0  # so many body pixels on one place of the side or top view count as full


@dataclass(frozen=True)
class BodyFrame:
    """The window around a body that all frames of a clip share: place and side in pixels, depth of the trunk in metres."""

    left: float
    top: float
    side: float
    trunk_metres: float


def crop_to_body(depths: NDArray[Any]) -> NDArray[Any]:
    """The part of all frames `(T, H, W)`, in any unit, outside which there is background in each: several times less to look at."""
    nearest = depths.max(0)
    rows, columns = np.flatnonzero(nearest.max(1) > 0), np.flatnonzero(nearest.max(0) > 0)
    if not len(rows):
        return depths
    return depths[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


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


@dataclass(frozen=True)
class BodyPoints:
    """The body pixels of all frames of a clip as points, each `(points,)`: number of the frame, place in the window (0 left
    and top, 1 right and bottom), metres behind the trunk. `pixels` is how many there are along a side of the window."""

    frames: int
    pixels: float
    frame: NDArray[np.int64]
    across: NDArray[np.float32]
    down: NDArray[np.float32]
    behind_metres: NDArray[np.float32]

    def turned(self, degrees: float) -> BodyPoints:
        """The same points turned about the vertical; those that were hidden from the camera stay missing."""
        sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
        window_metres = WINDOW_HEIGHTS * BODY_METRES
        aside = (self.across - 0.5) * window_metres
        across = np.asarray((aside * cosine + self.behind_metres * sine) / window_metres + 0.5, np.float32)
        return replace(self, across=across, behind_metres=self.behind_metres * cosine - aside * sine)


def find_points(depth_metres: NDArray[np.float32], frame: BodyFrame, size: int) -> BodyPoints:
    """Points of all frames `(T, H, W)`, pixels of small pictures repeated so that drawings of `size` have no holes."""
    times = min(max(-(-2 * size // max(int(frame.side), 1)), 1), MOST_REPEATS)
    if times > 1:
        depth_metres = depth_metres.repeat(times, 1).repeat(times, 2)
    number, row, column = np.nonzero(depth_metres > 0)
    middle = 0.5 / times
    across, down = ((column / times + middle - frame.left) / frame.side, (row / times + middle - frame.top) / frame.side)
    behind = depth_metres[number, row, column] - np.float32(frame.trunk_metres)
    return BodyPoints(
        len(depth_metres), frame.side * times, number, across.astype(np.float32), down.astype(np.float32), behind
    )


def draw_views(points: BodyPoints, size: int, near_metres: float, far_metres: float) -> Pictures:
    """Frames as `(T, size, 2·size)`: front, then side (size × size/2), then top turned upright (size × size/2).

    The front shows nearness, side and top how many body points fall on each place. Depth reaches from `near_metres`
    before the trunk to `far_metres` behind it.
    """
    column, row = (np.floor(places * size).astype(np.int64) for places in (points.across, points.down))
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    frame, column, row = points.frame[inside], column[inside], row[inside]
    nearness = np.clip((far_metres - points.behind_metres[inside]) / (near_metres + far_metres), 0, 1)
    layer = (nearness * (size // 2 - 1)).astype(np.int64)
    dot_pixels = PIXELS_PER_VIEW_DOT * (points.pixels / (WINDOW_HEIGHTS * 135)) ** 2
    half = (points.frames, size, size // 2)
    front = draw_front((frame, row, column), nearness, (points.frames, size, size), (points.pixels / size) ** 2)
    side = np.minimum(sum_places((frame, row, layer), half) / dot_pixels, 1)
    top = np.minimum(sum_places((frame, column, layer), half) / (1.5 * dot_pixels), 1)
    return np.rint(255 * np.concatenate([front, side, top], 2)).astype(np.uint8)


def draw_front(
    places: tuple[NDArray[np.int64], ...], nearness: NDArray[np.float32], shape: tuple[int, int, int], pixels: float
) -> NDArray[np.float32]:
    """Nearness seen from the front, the nearest points of a place before all others; its edges as dim as they are thin."""
    weights = np.exp(IN_FRONT * nearness)
    total = sum_places(places, shape, weights)
    seen = sum_places(places, shape, weights * (0.3 + 0.7 * nearness)) / np.maximum(total, 1e-6)
    return seen * np.minimum(sum_places(places, shape) / (FULL_SHARE * pixels), 1)


def sum_places(
    places: tuple[NDArray[np.int64], ...], shape: tuple[int, int, int], weights: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """How many points, or how much of their weights, falls on each place `(frame, row, column)` of drawings of a `shape`."""
    flat = (places[0] * shape[1] + places[1]) * shape[2] + places[2]
    return np.bincount(flat, weights, shape[0] * shape[1] * shape[2]).reshape(shape).astype(np.float32)
