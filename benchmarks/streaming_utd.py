"""Trials of people nobody was trained on as live streams of an IMU, skeletons and depth pictures, whose sensors fail.

python benchmarks/streaming_utd.py UTD_ROOT WORK_DIR [--folds 1,3,5,7] [--seed 0] [--minutes 2] [--name streaming_utd]

One process and thread per fold, as many at once as there are cores.

WORK_DIR is what benchmarks/folds_utd.py has left. The left-out subject's trials follow each other without a break, twelve to a
recording, IMU, skeletons and depth pictures each spread evenly over their trial, as UTD-MHAD has no clocks. A window counts where
its middle is not far from a trial's middle. Faults as in benchmarks/streaming.py: of all sensors, or of one while others are well.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recording import RESULTS, write_result
from streaming import draw, measure_accuracy, measure_health, run_long

from karmma.config import load_recipe
from karmma.data.manifest import Segment
from karmma.datasets.utd_mhad import UtdMhadConfig, load_utd_mhad
from karmma.deploy.health import HealthConfig
from karmma.deploy.recognition import Recognition
from karmma.deploy.runtime import load_any
from karmma.deploy.sensors import Sensor
from karmma.deploy.session import StreamConfig, StreamSession
from karmma.deploy.stream import simulate_stream
from karmma.media.inertial import read_matlab_inertial
from karmma.media.series import MATLAB_KEYS, read_series

TRIALS = 12  # in a recording
WINDOW_SECONDS = 3.5  # as training trials (their median), which is the default for a student of theirs
LENGTHS = (2.0, 2.5, 3.0, 4.0)  # of windows, to compare with
WAYS = ("known", "monitor", "none")  # how presence is found
MIDDLE = 0.3  # of a trial's length around its middle: where a window's middle has to lie


@dataclass(frozen=True)
class Trials:
    """Trials one after another, with their offsets in seconds."""

    trials: tuple[Segment, ...]

    @cached_property
    def offsets(self) -> list[float]:
        return np.cumsum([0.0, *[trial.stop_seconds for trial in self.trials]]).tolist()

    @property
    def seconds(self) -> float:
        return self.offsets[-1]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The middle of each trial."""
        places = zip(self.trials, self.offsets, strict=False)
        return tuple(
            replace(trial, start_seconds=offset + (1 - MIDDLE) / 2 * trial.stop_seconds,
                    stop_seconds=offset + (1 + MIDDLE) / 2 * trial.stop_seconds)
            for trial, offset in places
        )  # fmt: skip

    def sensors(self, names: Sequence[str]) -> list[Sensor]:
        return [TrialSensor(name, self) for name in names if name in MATLAB_KEYS]


@dataclass(frozen=True)
class TrialSensor:
    """One sensor over all trials."""

    name: str
    recording: Trials
    recorded: bool = True

    def samples(self) -> Iterator[tuple[float, Any]]:
        key, axis = MATLAB_KEYS[self.name]
        for trial, offset in zip(self.recording.trials, self.recording.offsets, strict=False):
            source = trial.sources.get(self.name)
            if not isinstance(source, Path):
                continue
            values = (read_matlab_inertial(source) if self.name == "imu" else read_series(source, key, axis)).values
            values = values.astype(np.uint16) if self.name == "depth" else values
            for index, sample in enumerate(values):
                seconds = offset + (index + 0.5) / len(values) * trial.stop_seconds
                yield seconds, tuple(sample.tolist()) if self.name == "imu" else sample


def measure_latency(recognition: Recognition, recording: Trials) -> dict[str, float]:
    """Milliseconds from a full buffer to an answer, one thread at a time; without any fault."""
    session, milliseconds = StreamSession(recognition, StreamConfig(WINDOW_SECONDS)), []
    for due, _ in simulate_stream(session, recording.sensors(session.sensors), recording.seconds):
        started = time.perf_counter()
        session.answer(due)
        if due >= WINDOW_SECONDS:
            milliseconds.append(1000 * (time.perf_counter() - started))
    return {name: round(float(np.percentile(milliseconds, share)), 1) for name, share in (("p50", 50), ("p95", 95), ("p99", 99))}


@dataclass(frozen=True)
class Fold:
    """Where a student lies, and the left-out subject's trials as recordings."""

    subject: int
    student: Path
    recordings: tuple[Trials, ...]


def find_fold(root: Path, run: Path, seed: int) -> Fold:
    subject = load_recipe(run / "recipe.json").data.settings["fold"]
    trials = load_utd_mhad(root, UtdMhadConfig(fold=subject)).split("validation")
    order = np.random.default_rng(0).permutation(len(trials)).tolist()
    recordings = tuple(Trials(tuple(trials[i] for i in order[first : first + TRIALS])) for first in range(0, len(order), TRIALS))
    return Fold(subject, run / f"seed{seed}" / "karmma", recordings)


def measure_fold(fold: Fold) -> dict[str, dict[str, Any]]:
    """Accuracies: with all sensors or one of them ill, and of healthy ones by the length of windows."""
    torch.set_num_threads(1)
    recognition, config = load_any(fold.student), StreamConfig(WINDOW_SECONDS)

    def measure(ways: Sequence[str], config: StreamConfig = config, sensors: Sequence[str] | None = None) -> dict[str, Any]:
        return measure_accuracy(recognition, fold.recordings, config, ways, sensors)

    lengths = {f"{seconds:g} s": measure(("healthy",), StreamConfig(seconds))["healthy"] for seconds in LENGTHS}
    return {"all": measure(("healthy", *WAYS)), **{name: measure(WAYS, sensors=[name]) for name in MATLAB_KEYS}, "lengths": lengths}


def pooled(parts: Sequence[Any]) -> Any:
    """Over folds: the share of all windows; by name where there are several figures."""
    if "windows" not in parts[0]:
        return {name: pooled([part[name] for part in parts]) for name in parts[0]}
    windows = sum(part["windows"] for part in parts)
    right = sum(part["action_top1"] * part["windows"] for part in parts)
    blind = sum(part["without_any_sensor"] for part in parts)
    return {"action_top1": round(right / windows, 2), "windows": windows, "without_any_sensor": blind}


def draw_result(health: dict[str, Any], accuracy: dict[str, Any], path: Path) -> None:
    """How soon faults are noticed, and the accuracy with the monitor by who falls ill."""
    ill = {name: accuracy[name]["monitor"] for name in (*MATLAB_KEYS, "all")}
    titles = {"nobody": "nobody\nill", **{name: f"{name}\nill" for name in MATLAB_KEYS}, "all": "all three\nill"}
    draw(health, {"nobody": accuracy["all"]["healthy"], **ill}, path, titles)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--folds", default="1,3,5,7")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--name", default="streaming_utd")
    options = parser.parse_args()
    folds = [find_fold(options.root, options.work / f"fold{fold}", options.seed) for fold in options.folds.split(",")]
    recordings = [recording for fold in folds for recording in fold.recordings]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        judging = pool.submit(measure_health, recordings, HealthConfig())
        accuracy = pooled(list(pool.map(measure_fold, folds)))
        health = judging.result()
    recognition, own = load_any(folds[0].student), folds[0].recordings
    write_result(options.name, {
        "subjects": [fold.subject for fold in folds], "seed": options.seed, "window_seconds": WINDOW_SECONDS,
        "recordings": len(recordings), "health": health, "accuracy": accuracy, "latency_ms": measure_latency(recognition, own[0]),
        "real_time": run_long(recognition, own, options.minutes) if options.minutes else None,
    })  # fmt: skip
    draw_result(health, accuracy, RESULTS / f"{options.name}.png")


if __name__ == "__main__":
    main()
