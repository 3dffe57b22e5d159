"""Joints as trackers deliver them: which axis is up, and those that were not seen, which are filled from the moments around."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..media.series import Series
from ..skeletons import Up

UPRIGHT: dict[Up, tuple[list[int], list[float]]] = {  # which axes become x, y, z, and their signs
    "y": ([0, 1, 2], [1, 1, 1]), "-y": ([0, 1, 2], [1, -1, -1]), "z": ([0, 2, 1], [1, 1, -1]),
}  # fmt: skip
FARTHEST = 1e7  # of a place, in any unit: ten kilometres in millimetres
AROUND_SECONDS = 1.0  # beyond a segment, where joints are looked for that are lost at its ends


def seen_joints(poses: NDArray[np.float32], flat: bool) -> NDArray[np.bool_]:
    """Which joints of poses `(time, joints, coordinates)` were seen, `(time, joints)`.

    Lost are those that are no numbers or no places, all of a moment that lie on one spot (nobody is there), and at (0, 0) those of
    a picture.
    """
    places = np.isfinite(poses) & (np.abs(poses) < FARTHEST)
    seen = places.all(-1)
    somebody = np.ptp(np.where(places, poses, 0), axis=1).any(-1)
    placed = poses[..., :2].any(-1) if flat else np.True_
    return np.asarray(seen & somebody[:, None] & placed)


def fill_lost(poses: NDArray[np.float32], seen: NDArray[np.bool_], moments: NDArray[np.float64]) -> NDArray[np.float32]:
    """Poses whose lost joints lie on the line between the moments at which they were seen, or where they were seen last.

    A joint that was never seen stays no number.
    """
    filled = np.where(seen[..., None], poses, np.float32(np.nan))
    for joint in np.flatnonzero(~seen.all(0) & seen.any(0)):
        there = seen[:, joint]
        for axis in range(poses.shape[2]):
            filled[~there, joint, axis] = np.interp(moments[~there], moments[there], poses[there, joint, axis])
    return filled


def around(series: Series, start_seconds: float, stop_seconds: float) -> Series:
    """The samples of a segment and a second around it; all of a series without a clock."""
    if series.seconds is None:
        return series
    first, last = np.searchsorted(series.seconds, (start_seconds - AROUND_SECONDS, stop_seconds + AROUND_SECONDS))
    first, last = max(int(first) - 1, 0), int(last) + 1
    return Series(series.values[first:last], series.seconds[first:last], series.source)


def within(series: Series, start_seconds: float, stop_seconds: float) -> NDArray[np.bool_]:
    """Which samples belong to a segment, `(time,)`."""
    if series.seconds is None:
        return np.ones(len(series.values), np.bool_)
    return np.asarray((series.seconds >= start_seconds) & (series.seconds < stop_seconds))


def upright(poses: NDArray[np.floating], up: Up) -> NDArray[np.float32]:
    """Joints `(…, 3)` whose y points up, of such as sources deliver; of places in pictures `(…, 2)` z is 0."""
    if poses.shape[-1] == 2:
        poses = np.concatenate([poses, np.zeros_like(poses[..., :1])], -1)
    axes, signs = UPRIGHT[up]
    return (poses[..., axes] * np.array(signs)).astype(np.float32)


def in_source_shape(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Joints over time in a source's `shape` (…, coordinates), with a confidence behind these where there is one; None for others.

    They may also come joint after joint, or number after number.
    """
    joints = math.prod(shape[:-1])
    for axes in (shape[-1], shape[-1] + 1):
        if values.shape[1:] in ((*shape[:-1], axes), (joints, axes), (joints * axes,)):
            return values.reshape(len(values), *shape[:-1], axes)
    return None
