"""Units of inertial measurements: those of files that say them, and doubts about those of files that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from karmma.media.inertial import doubt_table, doubt_units, read_matlab_inertial
from karmma.media.tables import AXES
from karmma.modalities.imu import Imu

DEGREES = 180 / np.pi


def carried(samples: int = 200) -> np.ndarray:
    """Somebody who shakes an IMU, in m/s² and rad/s."""
    time = np.arange(samples) / 50
    force = np.stack([2 * np.sin(6 * time), np.zeros_like(time), 9.8 + 3 * np.cos(5 * time)], -1)
    turn = np.stack([1.5 * np.cos(6 * time), 1.0 + 0.2 * np.sin(time), np.zeros_like(time)], -1)
    return np.concatenate([force, turn], -1)


def write_csv(path: Path, values: np.ndarray) -> Path:
    rows = (",".join(f"{number:.6f}" for number in (index / 50, *row)) for index, row in enumerate(values))
    path.write_text("\n".join([f"seconds,{','.join(AXES)}", *rows]))
    return path


def test_one_movement_is_the_same_to_a_model_from_either_kind_of_file(tmp_path: Path) -> None:
    values = carried()
    in_g = np.concatenate([values[:, :3] / 9.80665, values[:, 3:] * DEGREES], -1)
    scipy.io.savemat(tmp_path / "trial.mat", {"d_iner": in_g})
    series = read_matlab_inertial(tmp_path / "trial.mat")
    np.testing.assert_allclose(series.values, values, atol=1e-5)
    imu = Imu(span="segment", seconds=2.0)
    table = write_csv(tmp_path / "trial.csv", values)
    one, other = imu.read(tmp_path / "trial.mat", 0.0, 4.0), imu.read(table, 0.0, 4.0)
    assert one is not None and other is not None
    np.testing.assert_allclose(one[5:-5], other[5:-5], atol=0.15)  # a clock, and an even spread over the trial
    assert imu.doubt(tmp_path / "trial.mat") == imu.doubt(table) == ""


@pytest.mark.parametrize(("force", "turn", "words"), [
    (1.0, 1.0, ""),
    (1 / 9.81, 1.0, "the median force is 1.0"),
    (1000 / 9.81, 1.0, "in g, or without gravity?"),
    (1.0, DEGREES, "in degrees/s?"),
    (1 / 9.81, DEGREES, "rad/s, which no gyroscope reaches"),
    (0.0, 1.0, ""),  # a dead sensor is not doubted: that it stands still is said elsewhere
])  # fmt: skip
def test_units_are_doubted_by_what_a_carried_sensor_can_measure(tmp_path: Path, force: float, turn: float, words: str) -> None:
    values = carried() * np.array([force] * 3 + [turn] * 3)
    found = doubt_table(write_csv(tmp_path / "imu.csv", values))
    assert words in found and bool(found) == bool(words)
    values[::7, 2] = np.nan
    assert bool(doubt_units(values)) == bool(words)
    assert doubt_units(values[:5]) == ""


def test_a_fall_or_a_blow_is_no_doubt() -> None:
    values = carried()
    values[50:90, :3] = 0.1  # 0.8 s of falling
    values[90:95, :3] = 150.0
    assert doubt_units(values) == ""


def test_a_recipe_of_the_time_before_units_is_refused_by_name() -> None:
    from karmma.modalities import make_modalities
    from karmma.types import KarmmaError

    with pytest.raises(KarmmaError, match="did you mean force_scale_mps2"):
        make_modalities({"imu": {"force_scale": 1.0}})
