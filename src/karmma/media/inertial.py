"""Inertial measurements in m/s² and rad/s: units that files hold, and doubts about those they do not say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.constants import degree, g

from .containers import MediaError
from .series import MATLAB_KEYS, Series, read_series
from .tables import AXES, Columns, doubt_clock, read_table

MATLAB_UNITS = np.array([g] * 3 + [degree] * 3, np.float32)  # of UTD-MHAD's files
FORCE_MPS2 = (3.0, 30.0)  # between which the median lies of sensors that measure gravity and are carried
TURN_RADPS = 35.0  # usual end stop of gyroscopes: 2000 degrees/s
FEWEST = 10  # samples to judge by


def read_matlab_inertial(path: Path) -> Series:
    """`d_iner` of a .mat file as UTD-MHAD has it, `(samples, axes)`: its g and degrees/s as m/s² and rad/s. Raises MediaError."""
    series = read_series(path, *MATLAB_KEYS["imu"])
    if series.values.shape[1:] != (len(AXES),):
        raise MediaError(f"{path}: {series.values.shape[1:]} axes, expected {len(AXES)}")
    return replace(series, values=series.values * MATLAB_UNITS)


def axes_of(rows: Columns) -> NDArray[np.float64]:
    """A table's axes `(samples, 6)`: force, then turn."""
    return np.stack([rows[axis] for axis in AXES], -1)


def doubt_table(path: Path) -> str:
    """What speaks against a table's units, see `doubt_units` and `doubt_clock`. Raises MediaError."""
    table = read_table(path, AXES)
    return " ".join(filter(None, (doubt_units(axes_of(table)), doubt_clock(table["seconds"]))))


def doubt_units(values: NDArray[np.floating]) -> str:
    """What speaks against m/s² and rad/s in measurements `(samples, 6)`; nothing if they look right, stand still or are few.

    The median is judged, so that a fall or a blow does not count. A gyroscope at rest looks the same in any unit.
    """
    measured = values[np.isfinite(values).all(1)]
    return doubt_strengths(*usual_strengths(measured)) if len(measured) >= FEWEST else ""


def usual_strengths(values: NDArray[np.floating]) -> tuple[float, float]:
    """The median strength of force and of turn in measurements `(samples, 6)`."""
    force, turn = (float(np.median(np.linalg.norm(part, axis=1))) for part in (values[:, :3], values[:, 3:]))
    return force, turn


def doubt_strengths(force: float, turn: float) -> str:
    """What speaks against m/s² and rad/s if force and turn usually are that strong."""
    doubts = []
    if force > 0 and not FORCE_MPS2[0] < force < FORCE_MPS2[1]:
        doubts.append(f"the median force is {force:.3g} m/s², gravity alone is {g:.3g}: in g, or without gravity?")
    if turn > TURN_RADPS:
        doubts.append(f"the median turn is {turn:.3g} rad/s, which no gyroscope reaches: in degrees/s?")
    return " ".join(doubts)
