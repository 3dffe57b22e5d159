"""Optical flow between frames with OpenCV's Dense Inverse Search: pip-only, no GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from .containers import MediaError
from .series import BROKEN
from .video import Pictures

Preset = Literal["auto", "ultrafast", "light", "fast", "medium"]
KEPT_OBJECTS = 8
SMALL_SIDE = 91  # below that the coarser presets lose their finest scale: they cost three times as much as medium and see less
LOCAL = threading.local()


def light_flow() -> cv2.DISOpticalFlow:
    """As `fast`, with patches every 6 pixels in place of 4, 20 steps of descent in place of 16, no refinement in place of 5."""
    made = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    made.setPatchStride(6)
    made.setGradientDescentIterations(20)
    made.setVariationalRefinementIterations(0)
    return made


PRESETS: dict[Preset, Callable[[], cv2.DISOpticalFlow]] = {
    "ultrafast": partial(cv2.DISOpticalFlow.create, cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST),
    "light": light_flow,
    "fast": partial(cv2.DISOpticalFlow.create, cv2.DISOPTICAL_FLOW_PRESET_FAST),
    "medium": partial(cv2.DISOpticalFlow.create, cv2.DISOPTICAL_FLOW_PRESET_MEDIUM),
}


def dis(preset: Preset, shape: tuple[int, int]) -> cv2.DISOpticalFlow:
    """One for each thread and size: it keeps its work in itself, so two threads in one object crash; and a small picture
    lowers the object's finest scale for good, which slows larger ones tenfold."""
    if not hasattr(LOCAL, "objects"):
        LOCAL.objects = {}
    objects: dict[tuple[str, tuple[int, int]], cv2.DISOpticalFlow] = LOCAL.objects
    if (preset, shape) not in objects:
        if len(objects) >= KEPT_OBJECTS:
            objects.clear()
        objects[preset, shape] = PRESETS[preset]()
    return objects[preset, shape]


def compute_flow(before: Pictures, after: Pictures, preset: Preset = "auto") -> NDArray[np.float32]:
    """Motion `(H, W, 2)` in pixels (x right, y down) from one RGB picture to the next."""
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after)]
    shape = grey[0].shape[:2]
    flow = np.asarray(dis(resolved(preset, max(shape)), shape).calc(grey[0], grey[1], None), np.float32)  # type: ignore[call-overload]
    if not np.isfinite(flow.sum()):  # a picture without any texture has no motion to be found
        np.nan_to_num(flow, copy=False)
    return flow


def compute_flows(
    read: Callable[[list[float]], Pictures], seconds: Sequence[float], step_seconds: float, preset: Preset
) -> NDArray[np.float32]:
    """Motion within `step_seconds` from each second on `(len(seconds), H, W, 2)`, of pictures that `read` gives at rising seconds."""
    both = sorted({*seconds, *(second + step_seconds for second in seconds)})
    pictures = dict(zip(both, read(both), strict=True))
    return np.stack([compute_flow(pictures[second], pictures[second + step_seconds], preset) for second in seconds])


def resolved(preset: Preset, longest_side: int) -> Preset:
    """What `auto` stands for, by the curve of cost and error in benchmarks/results/flow_methods.png."""
    if preset != "auto":
        return preset
    return "medium" if longest_side < SMALL_SIDE else "light"


def quantise(flow: NDArray[np.float32], bound_pixels: float) -> NDArray[np.int8]:
    """Flow in −bound…bound as signed bytes; ±127 is the bound."""
    return np.round(np.clip(flow / bound_pixels, -1, 1) * 127).astype(np.int8)


def read_flow(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64], float]:
    """Fields `(T, H, W, 2)` in pixels, their seconds, and the seconds that each motion lasts, of a prepared flow file.

    Raises MediaError for anything else.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            bound, step = float(archive["bound_pixels"]), float(archive["step_seconds"])
            fields, seconds = archive["flow"], np.asarray(archive["seconds"], np.float64)
    except BROKEN as error:
        raise MediaError(f"{path}: no prepared flow: {' '.join(str(error).split())}") from error
    if fields.ndim != 4 or fields.shape[-1] != 2 or len(fields) != len(seconds) or not len(fields) or step <= 0:
        raise MediaError(f"{path}: flow has shape {fields.shape} for {len(seconds)} moments")
    return fields.astype(np.float32) * (bound / 127), seconds, step
