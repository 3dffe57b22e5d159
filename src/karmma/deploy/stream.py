"""Recognition while sensors run and fail: a thread per sensor, windows on time, late ones dropped and counted."""

from __future__ import annotations

import heapq
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..types import KarmmaError
from .health import PRESENT
from .recognition import Recognition
from .sensors import Sensor, SensorClock
from .session import StreamConfig, StreamEvent, StreamSession

LATENCIES_KEPT = 100_000  # of the last windows: half a day at two a second


@dataclass
class StreamSummary:
    """What a stream did: windows answered, dropped, without any sensor; the latest latencies; uptime of sensors."""

    answered: int = 0
    dropped: int = 0
    without_sensor: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    up: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    stale: dict[str, int] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, event: StreamEvent) -> None:
        self.answered += 1
        self.without_sensor += event.prediction is None
        self.latencies_ms.append(event.latency_ms)
        for sensor, state in event.health.items():
            self.up[sensor] = self.up.get(sensor, 0) + (state == PRESENT)

    def row(self) -> dict[str, Any]:
        """As JSON."""
        latency = np.percentile(self.latencies_ms, (50, 95, 99)).tolist() if self.latencies_ms else [None] * 3
        rounded = [None if value is None else round(value, 2) for value in latency]
        return {
            "windows": self.answered + self.dropped, "answered": self.answered, "dropped": self.dropped,
            "without_any_sensor": self.without_sensor, "latency_ms": dict(zip(("p50", "p95", "p99"), rounded, strict=True)),
            "windows_per_second": round(self.answered / max(self.seconds, 1e-9), 3),
            "uptime": {sensor: round(count / max(self.answered, 1), 4) for sensor, count in self.up.items()},
            "stale_samples": self.stale, "broken_samples": self.broken, "failed_sensors": self.failed,
        }  # fmt: skip


class StreamClock:
    """Seconds since the stream began; `speed` runs recorded sensors faster."""

    def __init__(self, speed: float) -> None:
        self.speed, self.started = speed, time.monotonic()

    def now(self) -> float:
        return (time.monotonic() - self.started) * self.speed

    def wait_until(self, seconds: float, stop: threading.Event) -> None:
        stop.wait(max((seconds - self.now()) / self.speed, 0.0))


class LiveStream:
    """Iterate over it for events; `summary` tells what happened so far. Sensors run in threads that nobody waits for.

    Raises KarmmaError for sensors that the student does not know, for two of one kind, and for a speed or duration of nothing.
    """

    def __init__(
        self, recognition: Recognition, sensors: Sequence[Sensor], config: StreamConfig | None = None, *,
        duration_seconds: float | None = None, speed: float = 1.0,
    ) -> None:  # fmt: skip
        self.session = StreamSession(recognition, config or StreamConfig())
        unused = [sensor.name for sensor in sensors if sensor.name not in self.session.sensors]
        self.sensors = [sensor for sensor in sensors if sensor.name not in unused]
        if not self.sensors:
            raise KarmmaError(f"this student listens to {', '.join(self.session.sensors)}, not to {', '.join(unused) or 'nothing'}")
        names = [sensor.name for sensor in self.sensors]
        if twice := [name for name in names if names.count(name) > 1]:
            hint = "; a media file is camera and microphone at once, video=FILE or audio=FILE one of them"
            words = f"{twice[0]} has {names.count(twice[0])} sources; a sensor has one"
            raise KarmmaError(words + (hint if twice[0] in ("video", "audio") else ""))
        if speed <= 0 or (duration_seconds is not None and duration_seconds <= 0):
            raise KarmmaError(f"speed and duration must be above 0, not {speed:g} and {duration_seconds}")
        self.duration_seconds, self.speed = duration_seconds, speed
        self.stop, self.summary = threading.Event(), StreamSummary()
        self.threads: list[threading.Thread] = []
        self.told: set[tuple[str, str]] = set()

    def __iter__(self) -> Iterator[StreamEvent]:
        clock = StreamClock(self.speed)
        self.threads = [threading.Thread(target=self.feed, args=(sensor, clock), daemon=True) for sensor in self.sensors]
        for thread in self.threads:
            thread.start()
        try:
            yield from self.events(clock)
        finally:
            self.stop.set()
            self.summary.seconds = clock.now()
            self.summary.stale = {name: buffer.stale for name, buffer in self.session.buffers.items()}
            self.summary.broken = {name: buffer.broken for name, buffer in self.session.buffers.items()}

    def events(self, clock: StreamClock) -> Iterator[StreamEvent]:
        config, number = self.session.config, 1
        while not self.over(due := number * config.hop_seconds):
            clock.wait_until(due, self.stop)
            late = int((clock.now() - due) / config.hop_seconds) - config.late_windows
            for _ in range(max(late, 0)):
                self.summary.dropped += 1
                number += 1
                if self.over(due := number * config.hop_seconds):
                    return
            event = self.session.answer(due)
            self.tell(self.session.refused, "; going on without it")
            self.tell({} if event.prediction is None else event.prediction.doubted)
            event = replace(event, latency_ms=1000 * (clock.now() - due) / self.speed)
            self.summary.add(event)
            yield event
            number += 1

    def tell(self, amiss: Mapping[str, str], consequence: str = "") -> None:
        """Say once of each sensor that what it delivers cannot be read, and once that it is doubtful."""
        for sensor, words in amiss.items():
            if (sensor, consequence) not in self.told:
                self.told.add((sensor, consequence))
                print(f"karmma: {sensor}: {words}{consequence}", file=sys.stderr, flush=True)

    def over(self, due: float) -> bool:
        """Whether the window that is due lies beyond the wanted time, or beyond what sensors that have all ended delivered."""
        if self.duration_seconds is not None and due > self.duration_seconds + 1e-9:
            return True
        return not any(thread.is_alive() for thread in self.threads) and due > self.newest() + 1e-6

    def newest(self) -> float:
        """The latest second that any sensor has delivered."""
        return max((buffer.newest_seconds for buffer in self.session.buffers.values()), default=0.0)

    def feed(self, sensor: Sensor, clock: StreamClock) -> None:
        """Runs in the sensor's thread. A recorded sensor is held back to its own pace."""
        own_clock = SensorClock()
        try:
            for own_seconds, sample in sensor.samples():
                seconds = own_seconds
                if sensor.recorded:
                    clock.wait_until(own_seconds, self.stop)
                else:
                    seconds = own_clock.to_stream(own_seconds, clock.now())
                if self.stop.is_set():
                    return
                self.session.push(sensor.name, seconds, sample)
        except Exception as error:
            self.summary.failed[sensor.name] = f"{type(error).__name__}: {error}"
            print(f"karmma: {sensor.name} has failed: {error}", file=sys.stderr, flush=True)


def simulate_stream(
    session: StreamSession, sensors: Sequence[Sensor], duration_seconds: float
) -> Iterator[tuple[float, StreamSession]]:
    """The session at every hop of recorded sensors, as fast as can be: the same data in the same order, no clock."""
    heard = [sensor for sensor in sensors if sensor.name in session.sensors]
    merged = heapq.merge(*map(named_samples, heard), key=lambda delivery: delivery[0])
    upcoming = next(merged, None)
    for number in range(1, int(duration_seconds / session.config.hop_seconds) + 1):
        due = number * session.config.hop_seconds
        while upcoming is not None and upcoming[0] <= due:
            session.push(upcoming[1], upcoming[0], upcoming[2])
            upcoming = next(merged, None)
        yield due, session


def named_samples(sensor: Sensor) -> Iterator[tuple[float, str, Any]]:
    """Seconds, the sensor's name, the sample."""
    for seconds, sample in sensor.samples():
        yield seconds, sensor.name, sample
