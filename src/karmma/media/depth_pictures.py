"""Depth pictures as cameras deliver them: millimetres in 16 bits, 0 where nothing was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .video import HELD_SECONDS, frames_shown, grey16_of

MOST_PIXELS = 640 * 480  # of a picture; larger ones are thinned
METRES = np.float32(0.001)  # of a millimetre
FARTHEST = 65535


def millimetres_of(picture: NDArray[np.generic]) -> NDArray[np.uint16]:
    """A picture `(height, width)` of millimetres in whole numbers, or of metres in floats, whose gaps may be no numbers.

    Raises ValueError for another shape or type.
    """
    if picture.ndim != 2 or picture.dtype.kind not in "uif":
        raise ValueError(f"a depth picture has height and width and numbers, not {picture.dtype} {picture.shape}")
    values = picture if picture.dtype.kind != "f" else np.rint(np.nan_to_num(picture, nan=0.0, posinf=0.0, neginf=0.0) / METRES)
    return np.clip(values, 0, FARTHEST).astype(np.uint16)


def read_depth_film(path: Path, seconds: Sequence[float]) -> NDArray[np.uint16]:
    """Frames of 16-bit grey shown at the given rising `seconds`, thinned if they are large: `(len(seconds), height, width)`.

    A second beyond the end shows the last frame. Raises MediaError for other frames, if none can be decoded there, or if the film
    ended long before the first second.
    """
    return np.stack([thinned(grey16_of(path, frame)) for frame in frames_shown(path, seconds, HELD_SECONDS)])


def thinned(picture: NDArray[np.uint16], most_pixels: int = MOST_PIXELS) -> NDArray[np.uint16]:
    """Every second or third … pixel of a picture that has more than so many: depths are not blended at edges."""
    step = int(np.ceil(np.sqrt(picture.size / most_pixels))) if picture.size > most_pixels else 1
    return np.ascontiguousarray(picture[::step, ::step])
