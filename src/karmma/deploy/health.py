"""Sensor health from the data itself: no data, frozen, black, defocused, silent, clipped, stuck; with hysteresis.

A monitor looks at the last moments of one sensor's buffer. A state changes only after it has been seen for a while.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media.inertial import doubt_strengths, usual_strengths
from ..media.live import ArrayBuffer, Buffer, FrameBuffer, RowBuffer, SampleBuffer
from ..media.tables import AXES
from ..types import kind_of

PRESENT, DEGRADED, ABSENT = "present", "degraded", "absent"
ORDER = (PRESENT, DEGRADED, ABSENT)
FEWEST_LOOKS, LOOKS_DOUBTED = 4, 60  # from when on units are judged, and by how many looks: a fall or a blow does not count


@dataclass(frozen=True)
class HealthConfig:
    """Thresholds. Found on the validation kitchens by benchmarks/streaming.py; times in seconds.

    A sensor that has delivered nothing for `silent_seconds` (or three of its own periods) has no data. Evidence is taken over
    `look_seconds`. A worse state is believed after `worse_seconds`, a better one after `better_seconds`.
    """

    silent_seconds: float = 0.4
    silent_detections_seconds: float = 1.5  # a detector says nothing while it sees nothing
    look_seconds: float = 0.6
    worse_seconds: float = 0.2
    better_seconds: float = 0.5
    frozen_levels: float = 0.15  # mean change between frames, of 255: less is a picture that stands still
    black_levels: float = 14.0  # mean brightness: less is darkness
    flat_levels: float = 9.0  # deviation of brightness: less is a covered lens
    defocus_share: float = 0.3  # of the sharpness that is usual for this camera
    quiet_share: float = 1e-4  # root mean square of sound: less is a dead microphone
    clipped_share: float = 0.02  # of samples at full scale
    stuck_deviation: float = 1e-6  # of an IMU axis; none moves that little
    saturated_share: float = 0.15  # of values at an axis' largest
    swing_share: float = 0.5  # of an axis' usual largest, over which its values reach when it swings
    memory_seconds: float = 30.0  # how long the usual sharpness and swings are remembered


class HealthMonitor:
    """A state with hysteresis around what `evidence` says of one buffer."""

    def __init__(self, buffer: Buffer, config: HealthConfig) -> None:
        self.buffer, self.config = buffer, config
        self.state, self.reason = ABSENT, "no data"
        self.doubted = ""  # what speaks against data that looks well
        self.candidate: str | None = None
        self.since, self.usable_since = 0.0, -np.inf

    def judge(self, seconds: float) -> str:
        """The state at a moment, to be asked in order of time. The first look is believed at once."""
        found, self.reason = self.look(seconds)
        before = self.state
        if self.candidate is None:
            self.state = before = found
        if found != self.candidate:
            self.candidate, self.since = found, seconds
        worse = ORDER.index(found) > ORDER.index(self.state)
        patience = self.config.worse_seconds if worse else self.config.better_seconds
        if seconds - self.since >= patience - 1e-9:
            self.state = found
        if before == ABSENT and self.state != ABSENT:
            self.usable_since = self.since  # when data became good again, not when that was believed
        return self.state

    def look(self, seconds: float) -> tuple[str, str]:
        """What the data says now, before hysteresis."""
        if seconds - self.newest(seconds) > self.silence():
            return ABSENT, "not a number" if self.buffer.broken_lately else "no data"
        return self.evidence(seconds)

    def newest(self, seconds: float) -> float:
        return self.buffer.newest_seconds

    def silence(self) -> float:
        return self.config.silent_seconds

    def evidence(self, seconds: float) -> tuple[str, str]:
        """State and reason while data comes."""
        return PRESENT, ""


class CameraMonitor(HealthMonitor):
    """Frozen, black, covered: absent. Much less sharp than usual: degraded."""

    buffer: FrameBuffer

    def __init__(self, buffer: FrameBuffer, config: HealthConfig, size: tuple[int, int]) -> None:
        super().__init__(buffer, config)
        self.size, self.usual = size, deque[tuple[float, float]]()

    def silence(self) -> float:
        return max(self.config.silent_seconds, 3 * self.buffer.period_seconds())

    def evidence(self, seconds: float) -> tuple[str, str]:
        held = [frame for frame in self.buffer.latest(seconds, 60) if frame.seconds > seconds - self.config.look_seconds]
        pictures = [grey(frame.at(self.size)) for frame in held]
        if not pictures:
            return PRESENT, ""
        last = pictures[-1]
        if last.mean() < self.config.black_levels:
            return ABSENT, "black"
        if last.std() < self.config.flat_levels:
            return ABSENT, "covered"
        changes = [float(np.abs(one - other).mean()) for one, other in itertools.pairwise(pictures)]
        long_enough = held[-1].seconds - held[0].seconds > 0.6 * self.config.look_seconds
        if changes and long_enough and max(changes) < self.config.frozen_levels:
            return ABSENT, "frozen"
        sharpness = float(np.median([sharpness_of(picture) for picture in pictures]))
        usual = self.usual_sharpness(seconds, sharpness)
        if sharpness < self.config.defocus_share * usual:
            return DEGRADED, "defocused"
        return PRESENT, ""

    def usual_sharpness(self, seconds: float, sharpness: float) -> float:
        """The median over the last half minute; blurred moments count too, so a lens that stays blurred becomes usual."""
        self.usual.append((seconds, sharpness))
        while self.usual[0][0] < seconds - self.config.memory_seconds:
            self.usual.popleft()
        return float(np.median([value for _, value in self.usual])) if len(self.usual) >= 6 else 0.0


class MicrophoneMonitor(HealthMonitor):
    """Digital silence: absent. Many samples at full scale: degraded."""

    buffer: SampleBuffer

    def newest(self, seconds: float) -> float:
        with self.buffer.lock:
            return self.buffer.end(self.buffer.pieces[-1]) if self.buffer.pieces else -np.inf

    def evidence(self, seconds: float) -> tuple[str, str]:
        samples = self.buffer.samples(seconds - self.config.look_seconds, seconds)
        if samples is None:
            return ABSENT, "no data"
        if float(np.sqrt(np.mean(np.square(samples - samples.mean())))) < self.config.quiet_share:
            return ABSENT, "silent"
        peak = float(np.abs(samples).max())
        if peak > 0.5 and float((np.abs(samples) > 0.98 * peak).mean()) > self.config.clipped_share:
            return DEGRADED, "clipped"
        return PRESENT, ""


class ImuMonitor(HealthMonitor):
    """Any triple of axes that stands still to the last digit: absent. Axes that swing to their end stops: degraded.

    One whose units are doubtful stays present.
    """

    buffer: RowBuffer

    def __init__(self, buffer: RowBuffer, config: HealthConfig) -> None:
        super().__init__(buffer, config)
        self.swings = deque[tuple[float, NDArray[np.float64]]]()  # the largest of each axis at earlier looks
        self.strengths = deque[tuple[float, float]](maxlen=LOOKS_DOUBTED)  # of force and turn at the last looks

    def evidence(self, seconds: float) -> tuple[str, str]:
        rows = self.buffer.columns(seconds - self.config.look_seconds, seconds + 1e-6)
        values = np.stack([rows[axis] for axis in AXES], -1)
        if len(values) < 3:
            return ABSENT, "no data"
        for triple in (values[:, :3], values[:, 3:]):
            if (triple.std(0) < self.config.stuck_deviation).all():
                return ABSENT, "stuck"
        largest = np.abs(values).max(0)
        at_stop = (np.abs(values) >= largest * 0.999) & (largest > 1e-3)
        swings = np.ptp(values, 0) > self.config.swing_share * self.usual_largest(seconds, largest)
        long_enough = rows["seconds"][-1] - rows["seconds"][0] > 0.6 * self.config.look_seconds
        if long_enough and ((at_stop.mean(0) > self.config.saturated_share) & swings).any():
            return DEGRADED, "saturated"
        self.strengths.append(usual_strengths(values))
        if len(self.strengths) >= FEWEST_LOOKS:
            self.doubted = doubt_strengths(*np.median(self.strengths, 0).tolist())
        return PRESENT, ""

    def usual_largest(self, seconds: float, largest: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each axis in the last half minute: a sensor at rest has few different values, too, but does not swing."""
        self.swings.append((seconds, largest))
        while self.swings[0][0] < seconds - self.config.memory_seconds:
            self.swings.popleft()
        return np.max([values for _, values in self.swings], 0)


class DetectionsMonitor(HealthMonitor):
    """No box for a while: absent, or nothing to see; both mean that there is nothing to go by."""

    def silence(self) -> float:
        return self.config.silent_detections_seconds


class ArrayMonitor(HealthMonitor):
    """Poses or depth pictures. All zero: nobody or nothing is seen. The same to the last digit for a while: frozen. Both absent."""

    buffer: ArrayBuffer

    def silence(self) -> float:
        return max(self.config.silent_seconds, 3 * self.buffer.period_seconds())

    def evidence(self, seconds: float) -> tuple[str, str]:
        series = self.buffer.series(seconds - self.config.look_seconds, seconds + 1e-6)
        if series is None or series.seconds is None:
            return PRESENT, ""
        if not series.values[-1].any():
            return ABSENT, "empty"
        long_enough = series.seconds[-1] - series.seconds[0] > 0.6 * self.config.look_seconds
        if long_enough and ((series.values == series.values[-1]) | np.isnan(series.values)).all():
            return ABSENT, "frozen"
        return PRESENT, ""


class HandsMonitor(ArrayMonitor):
    """Poses of hands that stand still to the last digit: frozen. That no hand is in view is an answer, too."""

    def evidence(self, seconds: float) -> tuple[str, str]:
        newest = self.buffer.newest()
        return super().evidence(seconds) if newest is not None and newest.any() else (PRESENT, "")


def grey(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)


def sharpness_of(picture: NDArray[np.float32]) -> float:
    """Deviation of the Laplacian in units of the picture's own contrast."""
    return float(cv2.Laplacian(picture, cv2.CV_32F).std() / max(float(picture.std()), 1.0))


def make_monitors(buffers: Mapping[str, Buffer], config: HealthConfig) -> dict[str, HealthMonitor]:
    """A monitor for each sensor; a camera is judged by the first of its buffer's sizes."""
    monitors: dict[str, HealthMonitor] = {}
    for sensor, buffer in buffers.items():
        if isinstance(buffer, FrameBuffer):
            monitors[sensor] = CameraMonitor(buffer, config, buffer.sizes[0])
        elif isinstance(buffer, SampleBuffer):
            monitors[sensor] = MicrophoneMonitor(buffer, config)
        elif isinstance(buffer, ArrayBuffer) and kind_of(sensor) == "hands":
            monitors[sensor] = HandsMonitor(buffer, config)
        elif isinstance(buffer, ArrayBuffer):
            monitors[sensor] = ArrayMonitor(buffer, config)
        elif isinstance(buffer, RowBuffer) and kind_of(sensor) == "imu":
            monitors[sensor] = ImuMonitor(buffer, config)
        else:
            monitors[sensor] = DetectionsMonitor(buffer, config)
    return monitors
