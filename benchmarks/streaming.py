"""Live streams whose sensors fail: how fast and how surely faults are noticed, what that is worth, and ten minutes of it.

python benchmarks/streaming.py RUN [--split test] [--minutes 10] [--choose] [--name streaming]

RUN is what `karmma run` has made of a kitchen recipe. Recordings of the split are streamed with faults at known, random
times. `--choose` tries settings on the validation participants instead; the defaults in deploy/health.py and session.py were
chosen there. `--minutes 0` leaves the real-time part out.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from recording import RESULTS, write_result

from karmma.data.manifest import Segment
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.deploy.faults import KINDS, Fault, FaultySensor
from karmma.deploy.health import PRESENT, HealthConfig, make_monitors
from karmma.deploy.predict import Recognizer
from karmma.deploy.recognition import Recognition, Window
from karmma.deploy.sensors import AudioFile, Sensor, TableFile, VideoFile
from karmma.deploy.session import StreamConfig, StreamSession, sensor_of
from karmma.deploy.stream import LiveStream, named_samples, simulate_stream
from karmma.media.live import ArrayBuffer, Buffer, FrameBuffer, RowBuffer, SampleBuffer
from karmma.media.tables import AXES

HOP = 0.5
EVEN_HOP = 0.25  # at which monitors are asked where they alone are measured
ILL, WELL = (4.0, 9.0), (8.0, 16.0)  # seconds a fault and the time between two last
TAIL_SECONDS = 1.5  # an alarm so soon after a fault still belongs to it
RATE_HZ = 16000


class Recorded(Protocol):
    """A recording of several sensors with its labelled segments."""

    @property
    def segments(self) -> tuple[Segment, ...]: ...

    @property
    def seconds(self) -> float: ...

    def sensors(self, names: Sequence[str]) -> list[Sensor]: ...


@dataclass(frozen=True)
class Recording:
    """A recording of the kitchen with its labelled segments."""

    video: Path
    imu: Path
    boxes: Path
    segments: tuple[Segment, ...]

    @property
    def seconds(self) -> float:
        return max(segment.stop_seconds for segment in self.segments)

    def sensors(self, names: Sequence[str]) -> list[Sensor]:
        made: dict[str, Sensor] = {
            "video": VideoFile(self.video), "audio": AudioFile(self.video, RATE_HZ), "imu": TableFile(self.imu, "imu"),
            "detections": TableFile(self.boxes, "detections"),
        }  # fmt: skip
        return [made[name] for name in names if name in made]


def recordings_of(root: Path, split: str) -> list[Recording]:
    by_video: dict[Path, list[Segment]] = defaultdict(list)
    for segment in load_kitchen(root).split(split):
        source = segment.sources["rgb"]
        assert isinstance(source, Path)
        by_video[source].append(segment)
    return [
        Recording(video, root / "imu" / video.parent.name / f"{video.stem}.csv",
                  root / "boxes" / video.parent.name / f"{video.stem}.csv", tuple(segments))
        for video, segments in sorted(by_video.items())
    ]  # fmt: skip


def random_faults(sensor: str, seconds: float, random: np.random.Generator, kinds: Iterator[str]) -> list[Fault]:
    """Faults one after another with healthy time between them."""
    faults, at = [], float(random.uniform(3.0, 6.0))
    while at + ILL[0] < seconds:
        length = float(random.uniform(*ILL))
        faults.append(Fault(sensor, next(kinds), at, min(at + length, seconds)))
        at += length + float(random.uniform(*WELL))
    return faults


# Part one: monitors alone.

def new_buffer(sensor: str) -> Buffer:
    if sensor == "video":
        return FrameBuffer(3.0, [(128, 96)])
    if sensor == "audio":
        return SampleBuffer(3.0, RATE_HZ)
    return RowBuffer(3.0, AXES) if sensor == "imu" else ArrayBuffer(3.0)


def judged(sensor: Sensor, seconds: float, health: HealthConfig) -> list[tuple[float, str]]:
    """State at every quarter of a second."""
    buffer: Any = new_buffer(sensor.name)
    monitor = make_monitors({sensor.name: buffer}, health)[sensor.name]
    deliveries, states = named_samples(sensor), []
    upcoming = next(deliveries, None)
    for due in np.arange(EVEN_HOP, seconds, EVEN_HOP).tolist():
        while upcoming is not None and upcoming[0] <= due:
            buffer.push(upcoming[0], upcoming[2])
            upcoming = next(deliveries, None)
        states.append((due, monitor.judge(due)))
    return states


def measure_health(recordings: Sequence[Recorded], health: HealthConfig) -> dict[str, Any]:
    """Per sensor and kind: recall, delay, and precision of alarms; a false alarm is one that no fault explains."""
    noticed: dict[str, list[bool]] = defaultdict(list)
    delays: dict[str, list[float]] = defaultdict(list)
    alarms: dict[str, list[bool]] = defaultdict(list)
    for sensor, kinds in KINDS.items():
        if sensor == "detections" or not recordings[0].sensors([sensor]):
            continue
        cycle = itertools.cycle(kinds)
        for number, recording in enumerate(recordings):
            random = np.random.default_rng([number, len(sensor)])
            faults = random_faults(sensor, recording.seconds, random, cycle)
            states = judged(FaultySensor(recording.sensors([sensor])[0], faults, number), recording.seconds, health)
            for fault in faults:
                key = f"{sensor} {fault.kind}"
                bad = [second for second, state in states if fault.covers(second) and state != PRESENT]
                noticed[key].append(bool(bad))
                if bad:
                    delays[key].append(bad[0] - fault.start_seconds)
            for bad_run in runs([state != PRESENT for _, state in states]):
                span = (states[bad_run[0]][0], states[bad_run[1]][0])
                explained = any(f.start_seconds <= span[1] and span[0] <= f.stop_seconds + TAIL_SECONDS for f in faults)
                alarms[sensor].append(explained)
    return {
        "faults": {
            key: {"n": len(flags), "recall": round(float(np.mean(flags)), 3),
                  "delay_seconds": {"median": rounded(np.median(delays[key])), "p95": rounded(np.percentile(delays[key], 95))}
                  if delays[key] else None}
            for key, flags in noticed.items()
        },
        "alarms": {key: {"n": len(flags), "precision": round(float(np.mean(flags)), 3)} for key, flags in alarms.items()},
    }  # fmt: skip


def rounded(value: Any) -> float:
    return round(float(value), 2)


def runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last index of stretches of True."""
    found: list[tuple[int, int]] = []
    for index, flag in enumerate(flags):
        if flag and found and found[-1][1] == index - 1:
            found[-1] = (found[-1][0], index)
        elif flag:
            found.append((index, index))
    return found


# Part two: what it is worth.

def label_at(recording: Recorded, seconds: float) -> dict[str, int] | None:
    """The labels of the action going on at a moment."""
    inside = [s for s in recording.segments if s.start_seconds <= seconds < s.stop_seconds]
    return min(inside, key=lambda s: abs((s.start_seconds + s.stop_seconds) / 2 - seconds)).labels if inside else None


def windows_of(
    recognition: Recognition, recording: Recorded, faults: list[Fault], config: StreamConfig, how: str
) -> Iterator[tuple[Window, dict[str, int]]]:
    """Windows whose middle lies in a labelled action; `how` decides who counts as present."""
    session = StreamSession(recognition, replace(config, hop_seconds=HOP, monitor=how == "monitor"))
    sensors = [FaultySensor(sensor, faults) for sensor in recording.sensors(session.sensors)]

    def known(name: str, health: dict[str, str]) -> bool:
        start, stop = session.now - config.window_seconds, session.now
        own = [fault for fault in faults if fault.sensor == sensor_of(name)]
        ill = sum(max(min(fault.stop_seconds, stop) - max(fault.start_seconds, start), 0.0) for fault in own)
        return ill < 0.25 * config.window_seconds

    for due, _ in simulate_stream(session, sensors, recording.seconds):
        labels = label_at(recording, due - config.window_seconds / 2)
        if labels is None or due < config.window_seconds:
            session.health_at(due)
            continue
        yield session.window(due, known if how == "known" else None)[0], labels


def with_faults(recordings: Sequence[Recorded], recognition: Recognition) -> Iterator[tuple[Recorded, list[Fault]]]:
    """Recordings, each with the random faults of all sensors that the recognizer looks at; always the same ones."""
    cycles = {sensor: itertools.cycle(kinds) for sensor, kinds in KINDS.items()}
    sensors = dict.fromkeys(sensor_of(name) for name in recognition.modalities)
    for number, recording in enumerate(recordings):
        random = np.random.default_rng([7, number])
        yield recording, [f for sensor in sensors for f in random_faults(sensor, recording.seconds, random, cycles[sensor])]


def measure_accuracy(
    recognition: Recognition, recordings: Sequence[Recorded], config: StreamConfig, ways: Sequence[str],
    sensors: Sequence[str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Share of windows whose action is right; a window without any believed sensor is wrong. With `sensors` only these fall ill."""
    result: dict[str, Any] = {}
    for way in ways:
        right, total, blind = 0, 0, 0
        for recording, of_all in with_faults(recordings, recognition):
            healthy, faults = way == "healthy", [fault for fault in of_all if sensors is None or fault.sensor in sensors]
            rows = list(windows_of(recognition, recording, [] if healthy else faults, config, "known" if healthy else way))
            seen = [(window, labels) for window, labels in rows if window.inputs]
            blind, total = blind + len(rows) - len(seen), total + len(rows)
            predictions = recognition.predict_windows([window for window, _ in seen])
            names = recognition.labels.names
            for prediction, (_, labels) in zip(predictions, seen, strict=True):
                right += all(prediction.top(head).name == names[head][label] for head, label in labels.items())
        result[way] = {"action_top1": round(100 * right / total, 2), "windows": total, "without_any_sensor": blind}
    return result


# Part three: ten minutes in real time.

@dataclass(frozen=True)
class Endless:
    """Recordings one after another, as one sensor."""

    name: str
    recordings: tuple[Recorded, ...]
    recorded: bool = True

    def samples(self) -> Iterator[tuple[float, Any]]:
        offset = 0.0
        for recording in itertools.cycle(self.recordings):
            for seconds, sample in recording.sensors([self.name])[0].samples():
                yield offset + seconds, sample
            offset += recording.seconds


def resident_megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def random_kinds(sensor: str, random: np.random.Generator) -> Iterator[str]:
    """Ways in which a sensor can fall ill, without end."""
    while True:
        yield str(random.choice(KINDS[sensor]))


def run_long(recognition: Recognition, recordings: Sequence[Recorded], minutes: float) -> dict[str, Any]:
    """Two windows a second with random failures of all sensors; memory minute by minute."""
    random, seconds = np.random.default_rng(3), 60 * minutes
    names = [name for name in dict.fromkeys(sensor_of(name) for name in recognition.modalities) if name in KINDS]
    faults = [f for name in names for f in random_faults(name, seconds, random, random_kinds(name, random))]
    sensors = [FaultySensor(Endless(name, tuple(recordings)), faults) for name in names]
    running = LiveStream(recognition, sensors, StreamConfig(hop_seconds=HOP), duration_seconds=seconds)
    memory: dict[int, list[float]] = defaultdict(list)
    started = time.monotonic()
    for event in running:
        memory[int((event.stop_seconds - 1e-6) // 60) + 1].append(resident_megabytes())
    summary = running.summary.row()
    by_minute = {minute: round(float(np.mean(values)), 1) for minute, values in memory.items()}
    expected = int(seconds / HOP)
    return {
        "minutes": minutes, "wall_seconds": round(time.monotonic() - started, 1), "faults": len(faults), **summary,
        "every_window_answered_or_dropped": summary["windows"] == expected, "hop_ms": 1000 * HOP,
        "memory_megabytes_by_minute": by_minute,
        "last_minute_over_third": round(by_minute[max(by_minute)] / by_minute[min(3, max(by_minute))], 4),
    }  # fmt: skip


TITLES = {"healthy": "no\nfaults", "known": "presence\nknown", "monitor": "monitor", "none": "no\nmonitor"}


def draw(health: dict[str, Any], accuracy: dict[str, Any], path: Path, titles: dict[str, str] = TITLES) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [3, 2]})
    names = list(health["faults"])
    for row, name in enumerate(names):
        figures = health["faults"][name]
        delay = figures["delay_seconds"]
        if delay:
            left.plot([delay["median"], delay["p95"]], [row, row], color="#93c5fd", linewidth=3, solid_capstyle="round")
            left.plot(delay["median"], row, "o", color="#1d4ed8")
        left.text(3.05, row, f"{100 * figures['recall']:.0f} % of {figures['n']}", va="center", fontsize=8, color="#4b5563")
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.set_xlim(0, 3)
    left.set_xlabel("seconds until a fault is noticed (median, 95th percentile)")
    ways = [way for way in titles if way in accuracy]
    bars = right.bar([titles[way] for way in ways], [accuracy[way]["action_top1"] for way in ways], color="#2563eb", width=0.6)
    right.bar_label(bars, fmt="%.1f", fontsize=9)
    right.set_ylabel("action top-1 of windows, percent")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def choose(recognition: Recognition, recordings: Sequence[Recording]) -> None:
    """What the defaults were chosen by."""
    print(measure_health(recordings, HealthConfig()))
    print("reference", measure_accuracy(recognition, recordings, StreamConfig(), ("healthy", "known", "none")))
    for share, degraded in itertools.product((0.0, 0.25, 0.5, 0.75), (False, True)):
        config = StreamConfig(clean_share=share, use_degraded=degraded)
        print(share, degraded, measure_accuracy(recognition, recordings, config, ("monitor",)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--name", default="streaming")
    parser.add_argument("--data", type=Path, help="the kitchen, if it does not lie in RUN/data")
    options = parser.parse_args()
    recognition = Recognizer.load(options.run / "seed0" / "karmma")
    recordings = recordings_of(options.data or options.run / "data", "validation" if options.choose else options.split)
    if options.choose:
        choose(recognition, recordings)
        return
    health = measure_health(recordings, HealthConfig())
    accuracy = measure_accuracy(recognition, recordings, StreamConfig(), ("healthy", "known", "monitor", "none"))
    long = run_long(recognition, recordings, options.minutes) if options.minutes else None
    write_result(options.name, {
        "run": options.run.name, "split": options.split, "recordings": len(recordings), "health": health,
        "accuracy": accuracy, "real_time": long,
    })  # fmt: skip
    draw(health, accuracy, RESULTS / f"{options.name}.png")


if __name__ == "__main__":
    main()
