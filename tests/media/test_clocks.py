"""How far an IMU's clock is ahead of a film's, by what both see of the head's turns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from karmma.media.clocks import Motion, camera_motion, find_offset, sensor_motion
from karmma.media.containers import MediaError
from karmma.media.pictures import pictures_at
from karmma.media.tables import AXES
from karmma.media.video import read_frames
from karmma.media.write import VideoWriter

LENGTH, FRAMES_HZ = 20.0, 15.0


def turning(moments: np.ndarray) -> np.ndarray:
    """An angle over time: somebody who looks about, now and then."""
    random = np.random.default_rng(4)
    places, heights = random.uniform(-5, 25, 40), random.normal(0, 0.6, 40)
    return (heights / (1 + np.exp(-(moments[:, None] - places) * 6))).sum(1)


def write_table(path: Path, ahead_seconds: float) -> Path:
    moments = np.arange(-2.0, 22.0, 0.01)
    rows = np.zeros((len(moments), 7))
    rows[:, 0], rows[:, 5] = moments + ahead_seconds, np.gradient(turning(moments), moments)
    rows[:, 4:] += np.random.default_rng(0).normal(0, 0.01, (len(moments), 3))
    np.savetxt(path, rows, "%.4f", ",", header=",".join(["seconds", *AXES]), comments="")
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wall that passes by."""
    wall = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 255, (72, 1200, 3), dtype=np.uint8), (0, 0), 2)
    wall = cv2.normalize(wall, wall, 0, 255, cv2.NORM_MINMAX)
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with VideoWriter(path, 96, 72, FRAMES_HZ) as writer:
        for left in 550 + 100 * turning(np.arange(0, LENGTH, 1 / FRAMES_HZ)):
            writer.write_frame(cv2.getRectSubPix(wall, (96, 72), (float(left), 36.0)).astype(np.uint8))
    return path


@pytest.mark.parametrize("ahead_seconds", [0.0, 1.234, -2.5, 1.7e9])
def test_the_offset_is_found_to_a_fraction_of_a_frame(film: Path, tmp_path: Path, ahead_seconds: float) -> None:
    found = find_offset(camera_motion(film, 0.0), sensor_motion(write_table(tmp_path / "imu.csv", ahead_seconds)))
    assert found is not None and found.is_sure
    assert found.seconds == pytest.approx(ahead_seconds, abs=0.02)


@pytest.mark.parametrize("ahead_seconds", [0.0, 9.0, 11.4])
def test_an_offset_is_looked_for_where_it_is_expected_and_where_nobody_expects_one(
    film: Path, tmp_path: Path, ahead_seconds: float
) -> None:
    sensor = sensor_motion(write_table(tmp_path / "imu.csv", ahead_seconds))
    found = find_offset(camera_motion(film, 0.0), sensor, 10.0)
    assert found is not None and found.is_sure and found.seconds == pytest.approx(ahead_seconds, abs=0.02)


def test_a_part_of_a_film_is_enough(film: Path, tmp_path: Path) -> None:
    late = camera_motion(film, 8.0)
    assert late.seconds[0] > 7.9
    found = find_offset(late, sensor_motion(write_table(tmp_path / "imu.csv", 0.7)))
    assert found is not None and found.is_sure and found.seconds == pytest.approx(0.7, abs=0.02)


def test_numbered_pictures_tell_as_much_as_their_film(film: Path, tmp_path: Path) -> None:
    (tmp_path / "cut").mkdir()
    pictures = read_frames(film, [index / FRAMES_HZ for index in range(round(LENGTH * FRAMES_HZ))], 192, 144)
    for number, picture in enumerate(pictures, 7):
        cv2.imwrite(str(tmp_path / "cut" / f"frame_{number:06d}.png"), picture[..., ::-1])
    sequence, sensor = pictures_at(tmp_path / "cut", FRAMES_HZ), sensor_motion(write_table(tmp_path / "imu.csv", 1.234))
    for start_seconds in (0.0, 8.0):
        seen, expected = camera_motion(sequence, start_seconds), camera_motion(film, start_seconds)
        np.testing.assert_allclose(seen.seconds, expected.seconds, atol=0.01)
        found = find_offset(seen, sensor)
        assert found is not None and found.is_sure and found.seconds == pytest.approx(1.234, abs=0.02)
    twice = camera_motion(replace(sequence, frames_hz=60.0), 0.0)
    assert np.diff(twice.seconds) == pytest.approx(3 / 60)  # not closer than says anything
    (tmp_path / "cut" / "frame_000100.png").unlink()
    with pytest.raises(MediaError, match="picture 100 is missing"):
        camera_motion(sequence, 0.0)


def test_nothing_is_believed_of_motions_that_do_not_belong_together(film: Path) -> None:
    camera, random, moments = camera_motion(film, 0.0), np.random.default_rng(0), np.arange(-2.0, 22.0, 0.01)
    for _ in range(8):
        other = np.abs(cv2.GaussianBlur(random.normal(size=(len(moments), 1)), (1, 151), 25).ravel())
        found = find_offset(camera, Motion(moments, other))
        assert found is not None and not found.is_sure
    assert find_offset(camera, Motion(moments, np.zeros_like(moments))) is None  # lies on a table
    assert find_offset(camera, Motion(moments[:500], np.ones(500))) is None  # five seconds
    assert find_offset(camera, Motion(moments[:1], np.ones(1))) is None
