"""How well `karmma check` finds by how much an IMU's clock is ahead of its film's: simulated heads, offsets that are known.

python benchmarks/clock_offsets.py WORK_DIR

A kitchen is simulated (whose IMU is the head's, with noise and bias) and every IMU's clock is put ahead or behind by up to four
seconds, several times. Beside it IMUs of other recordings, which must not be believed, and what one film costs, beside
decoding its frames alone.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recording import write_result

from karmma.datasets import KitchenConfig, simulate
from karmma.media.clocks import FRAME_SIZE, LONGEST_SECONDS, ClockOffset, Motion, camera_motion, find_offset, sensor_motion
from karmma.media.video import decode_from

KNOBS = KitchenConfig(
    seed=11, participants={"source": 1, "train": 1, "validation": 1, "test": 24}, recording_seconds=54, width=160, height=120,
    frames_hz=12,
)  # fmt: skip
LENGTHS_SECONDS = (10.0, 20.0, 30.0, 40.0)  # of the film that is looked at
MOST_AHEAD_SECONDS, DRAWS = 4.0, 4


@dataclass(frozen=True)
class Recording:
    """What a film and the IMU beside it saw."""

    film: Path
    camera: Motion
    sensor: Motion


def recordings_of(root: Path) -> list[Recording]:
    films = sorted(root.glob("videos/*/*.MP4"))
    tables = [root / "imu" / film.parent.name / f"{film.stem}.csv" for film in films]
    return [
        Recording(film, camera_motion(film, 0.0), sensor_motion(table))
        for film, table in zip(films, tables, strict=True) if table.is_file()
    ]  # fmt: skip


def begin_of(motion: Motion, seconds: float) -> Motion:
    kept = motion.seconds < seconds
    return Motion(motion.seconds[kept], motion.speed[kept])


def shifted(motion: Motion, seconds: float) -> Motion:
    return Motion(motion.seconds + seconds, motion.speed)


def measure_own(recordings: list[Recording], length_seconds: float) -> dict[str, Any]:
    """How far off the offsets are, and how many are believed."""
    random, errors, sure = np.random.default_rng(0), list[float](), 0
    for recording in recordings:
        for ahead in random.uniform(-MOST_AHEAD_SECONDS, MOST_AHEAD_SECONDS, DRAWS):
            found = find_offset(begin_of(recording.camera, length_seconds), shifted(recording.sensor, ahead))
            if found is not None and found.is_sure:
                sure += 1
                errors.append(abs(found.seconds - ahead))
    return {
        "tried": len(recordings) * DRAWS, "believed": sure,
        "error_seconds": {"median": round(float(np.median(errors)), 4), "largest": round(max(errors), 4)},
    }  # fmt: skip


def measure_others(recordings: list[Recording], length_seconds: float) -> dict[str, Any]:
    """The same with every other recording's IMU."""
    found: list[ClockOffset] = []
    for one in recordings:
        camera = begin_of(one.camera, length_seconds)
        found += [fit for other in recordings if other is not one and (fit := find_offset(camera, other.sensor)) is not None]
    return {
        "tried": len(found), "believed": sum(fit.is_sure for fit in found),
        "largest_correlation": round(max(fit.correlation for fit in found), 3),
    }  # fmt: skip


def measure_cost(recordings: list[Recording]) -> dict[str, float]:
    """Seconds for the 40 s of a film that are looked at, beside decoding and shrinking their frames."""
    films = [recording.film for recording in recordings[:8]]
    began = time.perf_counter()
    for film in films:
        for frame in decode_from(film, 0.0):
            if frame.seconds > LONGEST_SECONDS:
                break
            frame.rgb(*FRAME_SIZE)
    decoded = time.perf_counter()
    motions = [camera_motion(film, 0.0) for film in films]
    moved = time.perf_counter()
    for recording, motion in zip(recordings, motions, strict=False):
        find_offset(motion, recording.sensor)
    fitted = time.perf_counter()
    each = np.array([decoded - began, moved - decoded, fitted - moved]) / len(films)
    return dict(zip(("decode_alone", "camera_motion", "find_offset"), each.round(3).tolist(), strict=True))


def main() -> None:
    root = Path(sys.argv[1]) / "kitchen"
    if not (root / "kitchen.json").is_file():
        simulate(root, KNOBS)
    recordings = recordings_of(root)
    by_length = {
        f"{length:g}": {"own": measure_own(recordings, length), "of_other_recordings": measure_others(recordings, length)}
        for length in LENGTHS_SECONDS
    }
    write_result(
        "clock_offsets",
        {"recordings": len(recordings), "by_seconds_of_film": by_length, "seconds_per_film": measure_cost(recordings)},
    )


if __name__ == "__main__":
    main()
