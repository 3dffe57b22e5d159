"""Where a sensor's file ends before its segment does, or has a hole there: it is not there, and no still picture, silence or line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from karmma.data.manifest import Segment
from karmma.data.reading import SegmentReading, read_segment
from karmma.media.inspection import inspect_file
from karmma.media.tables import AXES
from karmma.media.write import VideoWriter
from karmma.modalities import make_modalities

SENSORS: dict[str, dict[str, Any]] = {
    "rgb": {"frames": 4, "height": 24, "width": 32}, "flow": {"frames": 2, "height": 24, "width": 32}, "audio": {}, "imu": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ten seconds of film, six of sound, and an IMU that measured from 0 to 3 and from 6 to 8 s."""
    root = tmp_path_factory.mktemp("ends")
    noise = np.random.default_rng(0)
    with VideoWriter(root / "film.mp4", 64, 48, 10, 16000) as writer:
        for level in range(100):
            writer.write_frame(np.full((48, 64, 3), 20 + 2 * level, np.uint8))
        writer.write_audio(noise.normal(0, 0.1, 16000 * 6))
    moments = np.concatenate([np.arange(0, 3, 0.02), np.arange(6, 8, 0.02)])
    rows = (",".join(f"{value:.3f}" for value in (second, *noise.normal(0, 1, 6))) for second in moments)
    (root / "imu.csv").write_text("\n".join([f"seconds,{','.join(AXES)}", *rows]))
    return {name: root / ("imu.csv" if name == "imu" else "film.mp4") for name in SENSORS}


def read(recording: dict[str, Path], start: float, stop: float) -> SegmentReading:
    return read_segment(Segment("s", "", start, stop, {}, recording), make_modalities(SENSORS))


@pytest.mark.parametrize(("start", "stop", "there"), [
    (1.0, 2.0, {"rgb", "flow", "audio", "imu"}),
    (3.2, 4.2, {"rgb", "flow", "audio"}),  # rows before and after are no measurement
    (6.5, 7.5, {"rgb", "flow", "imu"}),  # what was heard before is not heard now
    (8.5, 9.5, {"rgb", "flow"}),
    (9.7, 11.0, {"rgb", "flow"}),
    (10.6, 11.6, set()),
])  # fmt: skip
def test_a_sensor_is_there_where_it_measured(recording: dict[str, Path], start: float, stop: float, there: set[str]) -> None:
    reading = read(recording, start, stop)
    assert set(reading.arrays) == there
    if start < 10:
        assert not reading.failures
        return
    assert set(reading.failures) == {"rgb", "flow"}
    assert "film.mp4: no frame at 10." in reading.failures["rgb"] and "the last one is at 9.90 s" in reading.failures["rgb"]


def test_a_slow_film_shows_its_last_picture_for_as_long_as_others(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "slow.mp4", 64, 48, 1) as writer:
        for level in (50, 100, 150):
            writer.write_frame(np.full((48, 64, 3), level, np.uint8))
    sources = {"rgb": tmp_path / "slow.mp4"}
    assert set(read(sources, 2.8, 3.2).arrays) == {"rgb"}
    assert set(read(sources, 5.0, 6.0).failures) == {"rgb"}


def test_holes_in_tables_are_named(recording: dict[str, Path], tmp_path: Path) -> None:
    assert inspect_file(recording["imu"], ("imu",)).warnings[-1] == "no rows from 2.98 to 6.00 s"
    lines = recording["imu"].read_text().splitlines()
    (tmp_path / "imu.csv").write_text("\n".join(lines[:60] + lines[100:]))
    words = inspect_file(tmp_path / "imu.csv", ("imu",)).warnings[-1]
    assert words == "2 holes without rows, 3.8 s in all; the longest from 2.98 to 6.00 s"
    (tmp_path / "imu.csv").write_text("\n".join(lines[:140]))
    assert not any("rows" in words for words in inspect_file(tmp_path / "imu.csv", ("imu",)).warnings)
