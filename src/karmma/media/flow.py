"""Optical flow between frames with OpenCV's Dense Inverse Search: pip-only, no GPU."""

from __future__ import annotations

from functools import cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from .video import Pictures

Preset = Literal["ultrafast", "fast", "medium"]
PRESETS: dict[str, int] = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


@cache
def dis(preset: Preset) -> cv2.DISOpticalFlow:
    return cv2.DISOpticalFlow.create(PRESETS[preset])


def compute_flow(before: Pictures, after: Pictures, preset: Preset = "fast") -> NDArray[np.float32]:
    """Motion `(H, W, 2)` in pixels (x right, y down) from one RGB picture to the next."""
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after)]
    return np.asarray(dis(preset).calc(grey[0], grey[1], None), np.float32)  # type: ignore[call-overload]


def quantise(flow: NDArray[np.float32], bound_pixels: float) -> NDArray[np.int8]:
    """Flow in −bound…bound as signed bytes; ±127 is the bound."""
    return np.round(np.clip(flow / bound_pixels, -1, 1) * 127).astype(np.int8)
