"""By how much the clock of an IMU beside a camera is ahead of the film's: both see how fast the head turns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .inertial import axes_of
from .pictures import PictureSequence, length_of_pictures, list_pictures, read_pictures_at
from .tables import AXES, read_table
from .video import decode_from

FRAME_SIZE = (96, 72)  # width and height at which pictures are laid over each other
LONGEST_SECONDS = 40.0  # of a film that is looked at, at its begin and at its end
APART_FRAMES_SECONDS = 0.035  # between pictures that are laid over each other: a faster camera says nothing more
SHORTEST_SECONDS = 8.0
MOST_SECONDS = 5.0  # by which clocks are expected to differ, beyond where they begin
STEP_SECONDS = 0.02
APART_SECONDS = 0.5  # from which on another offset is another answer
SURE, CLEAR = 0.5, 0.2  # correlation, and how far above any other, of an offset that is believed
ENOUGH_SECONDS = 30.0  # below which it has to be higher: by chance motions fit the better the shorter they are, as 1 / √length

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """How fast something turns, in any unit, at moments that grow."""

    seconds: Floats
    speed: Floats

    @cached_property
    def way(self) -> Floats:
        """How far it has turned by each moment."""
        return np.concatenate([[0.0], np.cumsum(np.diff(self.seconds) * (self.speed[1:] + self.speed[:-1]) / 2)])

    @cached_property
    def usual_speed(self) -> float:
        return max(float(np.median(self.speed)), 1e-9)

    def at(self, moments: Floats, width_seconds: float) -> Floats:
        """Logarithms of the mean speed around moments, relative to the usual one: a camera's and a gyroscope's are then alike."""
        after, before = (np.interp(moments + sign * width_seconds / 2, self.seconds, self.way) for sign in (1, -1))
        return np.log1p(np.maximum(after - before, 0.0) / width_seconds / self.usual_speed)


@dataclass(frozen=True)
class ClockOffset:
    """`seconds` by which a table's clock is ahead, the correlation of both motions then, and the best one elsewhere.

    `shared_seconds` of both were laid over each other.
    """

    seconds: float
    correlation: float
    elsewhere: float
    shared_seconds: float

    @property
    def is_sure(self) -> bool:
        needed = SURE * max(1.0, (ENOUGH_SECONDS / self.shared_seconds) ** 0.5)
        return self.correlation >= needed and self.correlation - self.elsewhere >= CLEAR


def camera_motion(film: Path | PictureSequence, start_seconds: float) -> Motion:
    """How fast the whole picture moves, by phase correlation of neighbouring frames. Raises MediaError."""
    seconds, speed, window = list[float](), list[float](), cv2.createHanningWindow(FRAME_SIZE, cv2.CV_32F)
    last: tuple[float, NDArray[np.float32]] | None = None
    frames = film_frames(film, start_seconds) if isinstance(film, Path) else picture_frames(film, start_seconds)
    for moment, grey in frames:
        if last is not None:
            (right, down), _ = cv2.phaseCorrelate(last[1], grey, window)
            seconds.append((moment + last[0]) / 2)
            speed.append(float(np.hypot(right, down)) / (moment - last[0]))
        last = moment, grey
    return Motion(np.array(seconds), np.array(speed))


def film_frames(film: Path, start_seconds: float) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Small grey frames of a film, not too close to each other, each with the second at which it is shown. Raises MediaError."""
    earliest = start_seconds
    for frame in decode_from(film, start_seconds):
        if frame.seconds > start_seconds + LONGEST_SECONDS:
            return
        if frame.seconds >= earliest:
            yield frame.seconds, cv2.cvtColor(frame.rgb(*FRAME_SIZE), cv2.COLOR_RGB2GRAY).astype(np.float32)
            earliest = frame.seconds + APART_FRAMES_SECONDS


def picture_frames(sequence: PictureSequence, start_seconds: float) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """The same of numbered pictures. Raises MediaError."""
    begin = max(start_seconds, sequence.second_of(int(list_pictures(sequence.path, sequence.part).numbers[0])))
    stop = min(start_seconds + LONGEST_SECONDS, length_of_pictures(sequence))
    apart = math.ceil(APART_FRAMES_SECONDS * sequence.frames_hz)
    moments = [sequence.second_of(number) for number in range(sequence.number_at(begin), sequence.number_at(stop), apart)]
    for moment, picture in zip(moments, read_pictures_at(sequence, moments, cv2.IMREAD_GRAYSCALE), strict=True):
        yield moment, cv2.resize(picture, FRAME_SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)


def sensor_motion(table: Path) -> Motion:
    """How fast an IMU turns about any axis. Raises MediaError."""
    rows = read_table(table, AXES)
    turn = np.linalg.norm(axes_of(rows)[:, 3:], axis=1)
    known = np.isfinite(turn)
    return Motion(rows["seconds"][known], turn[known])


def find_offset(camera: Motion, sensor: Motion, expected_seconds: float = 0.0) -> ClockOffset | None:
    """The offset at which both motions fit best, around none and around the expected one; None where one is too short or stands still.

    Clocks that have nothing in common, as of a table in Unix time, are taken to begin together, give or take.
    """
    if min(len(camera.seconds), len(sensor.seconds)) < 3:
        return None
    width = max(float(np.median(np.diff(motion.seconds))) for motion in (camera, sensor))
    moments = np.arange(camera.seconds[0] + width, camera.seconds[-1] - width, STEP_SECONDS)
    first, last = float(sensor.seconds[0]) + width, float(sensor.seconds[-1]) - width
    if len(moments) * STEP_SECONDS < SHORTEST_SECONDS or last - first < SHORTEST_SECONDS:
        return None
    nothing_in_common = first > moments[-1] or last < moments[0]
    middles = {round(about / STEP_SECONDS) for about in (first - moments[0] if nothing_in_common else 0.0, expected_seconds)}
    most = round(MOST_SECONDS / STEP_SECONDS)
    lags = np.unique(np.concatenate([np.arange(middle - most, middle + most + 1) for middle in middles])) * STEP_SECONDS
    seen = camera.at(moments, width)
    fits = np.array([correlation(seen, sensor, moments + lag, (first, last), width) for lag in lags])
    if not (fits > -1).any():
        return None
    best = int(fits.argmax())
    far = np.abs(lags - lags[best]) > APART_SECONDS
    shared = STEP_SECONDS * int(((moments + lags[best] > first) & (moments + lags[best] < last)).sum())
    return ClockOffset(float(lags[best] + refined(fits, best)), float(fits[best]), float(fits[far].max(initial=-1.0)), shared)


def correlation(seen: Floats, sensor: Motion, moments: Floats, span: tuple[float, float], width_seconds: float) -> float:
    """Of what the camera saw with what the sensor measured at those moments; −1 where they share less than half, or one is still."""
    shared = (moments > span[0]) & (moments < span[1])
    if shared.mean() < 0.5 or shared.sum() * STEP_SECONDS < SHORTEST_SECONDS:
        return -1.0
    measured = sensor.at(moments[shared], width_seconds)
    one, other = seen[shared] - seen[shared].mean(), measured - measured.mean()
    strength = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / strength if strength > 1e-9 else -1.0


def refined(fits: Floats, best: int) -> float:
    """Seconds from the best step to the top of the parabola through it and its neighbours."""
    if not 0 < best < len(fits) - 1:
        return 0.0
    before, top, after = fits[best - 1 : best + 2]
    bend = before - 2 * top + after
    return float(STEP_SECONDS * (before - after) / (2 * bend)) if bend < 0 else 0.0
