"""Faults put into sensors' data on purpose: to see what a stream does when a lens is covered or a microphone dies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media.live import PictureFrame
from ..media.video import DecodedFrame, Pictures
from ..types import KarmmaError, kind_of
from .sensors import Delivery, Sensor

KINDS: dict[str, tuple[str, ...]] = {
    "video": ("dead", "frozen", "black", "covered", "defocused"),
    "audio": ("dead", "silent", "clipped"),
    "imu": ("dead", "stuck", "saturated", "broken"),
    "detections": ("dead", "broken"),
    "skeleton": ("dead", "frozen", "empty", "broken"),
    "hands": ("dead", "frozen"),
    "depth": ("dead", "frozen", "empty"),
}
END_STOPS = np.array([39.2] * 3 + [8.7] * 3)  # ±4 g, ±500 °/s
FULL_WIDTH = 640  # pictures are spoiled at no more than this width


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a sensor from `start_seconds` to `stop_seconds`."""

    sensor: str
    kind: str
    start_seconds: float
    stop_seconds: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS.get(kind_of(self.sensor), ()):
            known = "; ".join(f"{sensor}: {', '.join(kinds)}" for sensor, kinds in KINDS.items())
            raise KarmmaError(f"unknown fault {self.sensor}={self.kind}; known are {known}")

    def covers(self, seconds: float) -> bool:
        return self.start_seconds <= seconds < self.stop_seconds


def parse_fault(text: str) -> Fault:
    """`video=frozen:10:20` is a picture frozen from second 10 to 20. Raises KarmmaError."""
    sensor, _, rest = text.partition("=")
    parts = rest.split(":")
    try:
        return Fault(sensor, parts[0], float(parts[1]), float(parts[2]))
    except (IndexError, ValueError) as error:
        raise KarmmaError(f"fault {text!r}: expected SENSOR=KIND:START:STOP, e.g. video=frozen:10:20") from error


@dataclass(frozen=True)
class FaultySensor:
    """A sensor some of whose samples are spoiled or lost."""

    sensor: Sensor
    faults: Sequence[Fault]
    seed: int = 0

    @property
    def name(self) -> str:
        return self.sensor.name

    @property
    def recorded(self) -> bool:
        return self.sensor.recorded

    def samples(self) -> Iterator[Delivery]:
        own = [fault for fault in self.faults if fault.sensor == self.name]
        random, held = np.random.default_rng(self.seed), None
        for seconds, sample in self.sensor.samples():
            fault = next((fault for fault in own if fault.covers(seconds)), None)
            if fault is None:
                held = sample
                yield seconds, sample
            elif fault.kind != "dead":
                yield seconds, spoiled(fault.kind, sample, held if held is not None else sample, random)


def spoiled(kind: str, sample: Any, held: Any, random: np.random.Generator) -> Any:
    """A sample with a fault; `held` is the last sound one."""
    if kind in ("frozen", "stuck"):
        return held
    if kind == "broken" and isinstance(sample, np.ndarray):
        return np.full_like(sample, np.nan)
    if kind == "broken":
        return tuple(value if isinstance(value, str) else np.nan for value in sample)
    if kind in ("silent", "empty"):
        return np.zeros_like(sample.grey16() if isinstance(sample, DecodedFrame) else sample)
    if kind == "clipped":
        return np.clip(sample * (8.0 / max(float(np.abs(sample).max()), 0.05)), -1.0, 1.0).astype(np.float32)
    if kind == "saturated":
        return tuple(np.clip(np.array(sample) * 50.0, -END_STOPS, END_STOPS).tolist())
    return PictureFrame(spoiled_picture(kind, picture_of(sample), random))


def picture_of(sample: Any) -> Pictures:
    if isinstance(sample, DecodedFrame):
        width = min(sample.frame.width, FULL_WIDTH)
        return sample.rgb(width, max(round(sample.frame.height * width / sample.frame.width), 1))
    return sample.rgb(320, 240)


def spoiled_picture(kind: str, picture: Pictures, random: np.random.Generator) -> NDArray[np.uint8]:
    """Black with a sensor's noise, a finger's dim even red, or far out of focus."""
    noise = random.normal(0, 1.5, picture.shape)
    if kind == "black":
        return np.clip(4 + noise, 0, 255).astype(np.uint8)
    if kind == "covered":
        return np.clip(np.array([70, 30, 25]) + 0.02 * picture + noise, 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), picture.shape[1] / 40), np.uint8)
