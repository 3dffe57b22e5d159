"""What a student was shown, as pictures for the web page: frames, spectrogram, flow, depth, boxes, joints, curves."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...modalities import DrawnAsJoints
from ...types import kind_of
from ..recognition import Recognition, Window

SHOWN_FRAMES, HEIGHT = 8, 96


def describe_inputs(recognition: Recognition, window: Window) -> dict[str, Any]:
    """By modality: pictures as data addresses; boxes, joints or curves as numbers."""
    drawn: dict[str, Any] = {}
    for name, value in window.inputs.items():
        modality, kind = recognition.modalities_by_name[name], kind_of(name)
        if kind == "rgb":
            pictures = value * np.array(getattr(modality, "std", 1)) + np.array(getattr(modality, "mean", 0))
            drawn[name] = {"frames": [jpeg(np.clip(p * 255, 0, 255).astype(np.uint8)) for p in chosen(pictures)]}
        elif kind == "flow":
            drawn[name] = {"frames": [jpeg(colour_of(field)) for field in chosen(value)]}
        elif kind == "audio":
            drawn[name] = {"spectrogram": jpeg(heat(value[::-1]))}
        elif kind == "detections":
            drawn[name] = {"boxes": [[[round(float(v), 3) for v in box[:5]] for box in frame if box[4] > 0] for frame in value]}
        elif kind == "depth":
            shown = chosen(value[..., 0]) * (255 / max(float(value.max()), 1e-6))
            drawn[name] = {"frames": [jpeg(cv2.cvtColor(picture.astype(np.uint8), cv2.COLOR_GRAY2RGB)) for picture in shown]}
        elif isinstance(modality, DrawnAsJoints):
            drawn[name] = {"joints": [places_of(pose) for pose in chosen(modality.drawn_joints(value))], "bones": modality.bones}
        elif value.ndim == 2:
            drawn[name] = {"curves": [[round(float(v), 3) for v in axis] for axis in value.T[:6]]}
    return drawn


def places_of(pose: NDArray[np.float32]) -> list[list[float] | None]:
    """A pose `(joints, 2)`; None for joints that are not there."""
    return [None if np.isnan(x) else [round(float(x), 3), round(float(y), 3)] for x, y in pose]


def chosen(pictures: NDArray[Any]) -> NDArray[Any]:
    """A few of them, evenly spread."""
    return pictures[np.linspace(0, len(pictures) - 1, min(SHOWN_FRAMES, len(pictures))).round().astype(int)]


def colour_of(field: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Direction as hue, speed as brightness."""
    angle = np.arctan2(field[..., 1], field[..., 0])
    speed = np.minimum(np.hypot(field[..., 0], field[..., 1]) / 1.5, 1)
    hsv = np.stack([(angle + np.pi) / (2 * np.pi) * 179, np.full_like(speed, 220), speed * 255], -1).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def heat(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    spread = (picture - picture.min()) / max(float(np.ptp(picture)), 1e-6)
    coloured = cv2.applyColorMap((spread * 255).astype(np.uint8), cv2.COLORMAP_MAGMA)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), np.uint8)


def jpeg(picture: NDArray[np.uint8]) -> str:
    """A data address of an RGB picture, enlarged to a height that can be looked at."""
    width = round(picture.shape[1] * HEIGHT / picture.shape[0])
    large = cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_LINEAR)
    _, content = cv2.imencode(".jpg", cv2.cvtColor(large, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()
