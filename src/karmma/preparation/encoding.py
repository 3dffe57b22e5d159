"""What a segment's files are made of: pictures as a film, flow in bytes."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media.flow import quantise
from ..media.video import Pictures
from ..media.write import VideoWriter


def scaled_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Even width and height with that short side; never larger than before."""
    scale = min(short_side / min(width, height), 1.0)
    return max(2 * round(width * scale / 2), 2), max(2 * round(height * scale / 2), 2)


def film_bytes(pictures: Sequence[Pictures], frames_hz: float, crf: int) -> bytes:
    """H.264 in MP4, in the size of the first picture."""
    height, width = pictures[0].shape[:2]
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "clip.mp4"
        with VideoWriter(target, width, height, frames_hz, crf=crf) as writer:
            for picture in pictures:
                same = picture.shape[:2] == (height, width)
                writer.write_frame(picture if same else np.asarray(cv2.resize(picture, (width, height)), np.uint8))
        return target.read_bytes()


def flow_bytes(
    fields: Sequence[NDArray[np.float32]], seconds: Sequence[float], bound_pixels: float, step_seconds: float
) -> bytes:
    """`flow` (T × H × W × 2, int8), `seconds` from the start of the clip, and the scale to read it with."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, flow=np.stack([quantise(motion, bound_pixels) for motion in fields]), seconds=np.array(seconds),
        bound_pixels=np.float64(bound_pixels), step_seconds=np.float64(step_seconds),
    )  # fmt: skip
    return buffer.getvalue()
