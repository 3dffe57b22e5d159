"""Bounded buffers of what sensors have delivered lately, each sample with the second it belongs to."""

from __future__ import annotations

import itertools
import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from .flow import Preset, compute_flow
from .series import Series
from .tables import Columns
from .video import Pictures

LAZY_PIXELS = 640 * 480  # larger frames are shrunk when they arrive, so that memory does not depend on the camera
PERIODS = 8  # latest samples that tell how often a sensor delivers
Size = tuple[int, int]


def typical_period(moments: Sequence[float]) -> float:
    """The median seconds from one of the rising moments to the next; 0 for fewer than three."""
    return float(np.median(np.diff(moments))) if len(moments) > 2 else 0.0


class Frame(Protocol):
    """A picture that can be had at any size, as of media.video.DecodedFrame."""

    def rgb(self, width: int, height: int) -> Pictures: ...


@dataclass(frozen=True)
class PictureFrame:
    """A frame that somebody has as RGB pixels already, e.g. of a camera's own library."""

    picture: Pictures

    def rgb(self, width: int, height: int) -> Pictures:
        return np.asarray(cv2.resize(self.picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass
class HeldFrame:
    """One frame of a buffer: its number, when it was shown, and its pictures by size."""

    number: int
    seconds: float
    frame: Frame | None
    pictures: dict[Size, Pictures] = field(default_factory=dict)

    def at(self, size: Size) -> Pictures:
        if size not in self.pictures:
            assert self.frame is not None
            self.pictures[size] = self.frame.rgb(*size)
        return self.pictures[size]


class Buffer:
    """What all buffers share: a lock, a horizon, counts of samples that came, that came too late, and that held no numbers."""

    def __init__(self, horizon_seconds: float) -> None:
        self.horizon_seconds = horizon_seconds
        self.lock = threading.RLock()
        self.arrived, self.stale, self.broken, self.newest_seconds = 0, 0, 0, -np.inf
        self.broken_lately = False  # whether the last sample that came was broken

    def accept(self, seconds: float, is_finite: bool = True) -> bool:
        """Count a sample. One older than the newest is stale and left out; so is one that holds no numbers or has no moment."""
        self.broken_lately = not (is_finite and math.isfinite(seconds))
        if self.broken_lately:
            self.broken += 1
            return False
        if seconds < self.newest_seconds:
            self.stale += 1
            return False
        self.arrived, self.newest_seconds = self.arrived + 1, seconds
        return True


class FrameBuffer(Buffer):
    """The frames of the last `horizon_seconds` in the `sizes` that readers take; flow between two is computed once."""

    def __init__(self, horizon_seconds: float, sizes: Sequence[Size]) -> None:
        super().__init__(horizon_seconds)
        self.sizes, self.held = tuple(sizes), deque[HeldFrame]()
        self.flows: dict[tuple[int, int, Size, Preset], NDArray[np.float32]] = {}

    def push(self, seconds: float, frame: Frame, pixels: int = LAZY_PIXELS + 1) -> None:
        """Add a frame; one of few `pixels` is kept as it is and converted when somebody asks."""
        with self.lock:
            if not self.accept(seconds):
                return
            held = HeldFrame(self.arrived, seconds, frame)
            if pixels > LAZY_PIXELS:
                for size in self.sizes:
                    held.at(size)
                held.frame = None
            self.held.append(held)
            while len(self.held) > 1 and self.held[1].seconds < seconds - self.horizon_seconds:
                gone = self.held.popleft().number
                self.flows = {key: field for key, field in self.flows.items() if key[0] > gone}

    def shown(self, second: float) -> HeldFrame | None:
        """The frame shown at a second: the last one before it; the first, where all are later."""
        found = None
        for held in self.held:
            if held.seconds > second + 1e-6:
                break
            found = held
        return found or (self.held[0] if self.held else None)

    def covers(self, start_seconds: float, stop_seconds: float) -> bool:
        """Whether a frame arrived for this stretch of time."""
        return any(start_seconds - 1e-6 <= held.seconds < stop_seconds for held in self.held)

    def frames(self, seconds: Sequence[float], width: int, height: int) -> Pictures:
        """Pictures `(len(seconds), height, width, 3)` shown at the given seconds."""
        with self.lock:
            found = [self.shown(second) for second in seconds]
            return np.stack([held.at((width, height)) for held in found if held is not None])

    def flow(self, first: float, second: float, width: int, height: int, preset: Preset) -> NDArray[np.float32]:
        """Motion `(height, width, 2)` between the frames shown at two moments."""
        with self.lock:
            one, other = self.shown(first), self.shown(second)
            assert one is not None and other is not None
            key = (one.number, other.number, (width, height), preset)
            if key not in self.flows:
                self.flows[key] = compute_flow(one.at((width, height)), other.at((width, height)), preset)
            return self.flows[key]

    def period_seconds(self) -> float:
        """From one frame to the next, lately; 0 where that cannot be said yet."""
        return typical_period([held.seconds for held in self.latest(math.inf, PERIODS)])

    def latest(self, seconds: float, count: int = 16) -> list[HeldFrame]:
        """Frames shown up to a second, oldest first."""
        with self.lock:
            return [held for held in self.held if held.seconds <= seconds + 1e-6][-count:]


class SampleBuffer(Buffer):
    """The mono sound of the last `horizon_seconds` at one rate."""

    def __init__(self, horizon_seconds: float, rate_hz: int) -> None:
        super().__init__(horizon_seconds)
        self.rate_hz, self.pieces = rate_hz, deque[tuple[float, NDArray[np.float32]]]()

    def push(self, seconds: float, samples: NDArray[np.float32]) -> None:
        """Add samples that begin at `seconds`."""
        with self.lock:
            if not len(samples) or not self.accept(seconds, bool(np.isfinite(samples).all())):
                return
            self.pieces.append((seconds, np.asarray(samples, np.float32)))
            while self.pieces and self.end(self.pieces[0]) < seconds - self.horizon_seconds:
                self.pieces.popleft()

    def end(self, piece: tuple[float, NDArray[np.float32]]) -> float:
        return piece[0] + len(piece[1]) / self.rate_hz

    def samples(self, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        """Samples of a stretch, zeros where nothing came; None if nothing at all did."""
        wanted, heard = np.zeros(round((stop_seconds - start_seconds) * self.rate_hz), np.float32), False
        with self.lock:
            for seconds, piece in self.pieces:
                first = round((seconds - start_seconds) * self.rate_hz)
                low, high = max(first, 0), min(first + len(piece), len(wanted))
                if low < high:
                    wanted[low:high], heard = piece[low - first : high - first], True
        return wanted if heard else None


class RowBuffer(Buffer):
    """Rows of a sensor table (imu, detections) of the last `horizon_seconds`. With `gaps` no row is broken."""

    def __init__(self, horizon_seconds: float, columns: Sequence[str], gaps: bool = False) -> None:
        super().__init__(horizon_seconds)
        self.gaps, self.names, self.rows = gaps, tuple(columns), deque[tuple[float, tuple[Any, ...]]]()

    def push(self, seconds: float, values: Sequence[Any]) -> None:
        """Add one row. Raises ValueError if it has another number of values."""
        if len(values) != len(self.names):
            raise ValueError(f"{len(values)} values for the columns {', '.join(self.names)}")
        with self.lock:
            if not self.accept(seconds, self.gaps or all(isinstance(value, str) or math.isfinite(value) for value in values)):
                return
            self.rows.append((seconds, tuple(values)))
            while self.rows and self.rows[0][0] < seconds - self.horizon_seconds:
                self.rows.popleft()

    def columns(self, start_seconds: float, stop_seconds: float) -> Columns:
        """Rows with start ≤ seconds < stop, as a table."""
        with self.lock:
            rows = [row for row in self.rows if start_seconds <= row[0] < stop_seconds]
        table: Columns = {"seconds": np.array([row[0] for row in rows], np.float64)}
        for index, name in enumerate(self.names):
            cells = [row[1][index] for row in rows]
            table[name] = np.array(cells, dtype=object if cells and isinstance(cells[0], str) else np.float64)
        return table


class ArrayBuffer(Buffer):
    """Arrays that a sensor delivered in the last `horizon_seconds`, all of one shape: poses, depth pictures.

    With `gaps` only an array without any number is broken.
    """

    def __init__(self, horizon_seconds: float, shape: tuple[int, ...] | None = None, gaps: bool = False) -> None:
        super().__init__(horizon_seconds)
        self.shape, self.gaps, self.held = shape, gaps, deque[tuple[float, NDArray[Any]]]()

    def push(self, seconds: float, values: NDArray[Any]) -> None:
        """Add one array. One of another shape than before, as of a camera opened again, puts an end to what is held.

        Raises ValueError if it has another shape than was told.
        """
        if self.shape is not None and values.shape != self.shape:
            raise ValueError(f"an array of shape {values.shape}, expected {self.shape}")
        with self.lock:
            finite = np.isfinite(values)
            if not self.accept(seconds, bool(finite.any() if self.gaps else finite.all())):
                return
            if self.held and self.held[-1][1].shape != values.shape:
                self.held.clear()
            self.held.append((seconds, values))
            while len(self.held) > 1 and self.held[1][0] < seconds - self.horizon_seconds:
                self.held.popleft()

    def newest(self) -> NDArray[Any] | None:
        """The last array that came."""
        with self.lock:
            return self.held[-1][1] if self.held else None

    def period_seconds(self) -> float:
        """From one array to the next, lately; 0 where that cannot be said yet."""
        with self.lock:
            return typical_period([seconds for seconds, _ in itertools.islice(reversed(self.held), PERIODS)][::-1])

    def series(self, start_seconds: float = -math.inf, stop_seconds: float = math.inf) -> Series | None:
        """What is held of a stretch of time, or None if nothing is; values keep their type."""
        with self.lock:
            held = [sample for sample in self.held if start_seconds <= sample[0] < stop_seconds]
        return Series(np.stack([values for _, values in held]), np.array([seconds for seconds, _ in held])) if held else None
