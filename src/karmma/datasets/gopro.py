"""The IMU in GoPro cameras as sensor tables: out of their films, or out of what gopro-utils made of them, as in EPIC-KITCHENS-100."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import read_csv
from ..media.containers import MediaError
from ..media.gpmf import Measured, Telemetry, read_telemetry
from ..media.tables import parse_column
from ..types import KarmmaError
from .imu_tables import ImuTable, write_imu_table

ACCELERATION, ROTATION = "-accl.csv", "-gyro.csv"  # what names of gopro-utils' tables end with
ORDERS = {"Camera": "ZXY", "Hero6 Black": "YxZ", "Hero7 Black": "YxZ", "Fusion": "yXZ"}  # of cameras whose films do not tell
TABLE_ORDER = "YxZ"  # of HERO6 and HERO7, which EPIC-KITCHENS-100's extension was recorded with
MOST_APART_SECONDS = 0.025  # from a turn's sample to a force's
LETTERS = "XYZ"


def convert_gopro_imu(path: Path, out: Path, order: str | None = None) -> ImuTable:
    """One table `seconds,accel_x,…,gyro_z` in m/s² and rad/s out of a film, or of `<name>-accl.csv` with `<name>-gyro.csv` beside.

    Columns are the camera's axes X, Y, Z; `order` says in which order the source has them (small letters turned round), whatever it
    says itself. Force and turn are measured at rates of their own: the turn is interpolated to the force's moments. Raises
    KarmmaError naming the file.
    """
    telemetry = read_tables(path) if path.suffix.lower() == ".csv" else read_telemetry(path)
    known = order or telemetry.force.order or ORDERS.get(telemetry.device, "")
    if not known:
        raise KarmmaError(f"{path}: a {telemetry.device!r} does not say in which order its axes are; name it, e.g. --order YxZ")
    force, turn = rising(telemetry.force), rising(telemetry.turn)
    if not len(force.seconds) or not len(turn.seconds):
        raise MediaError(f"{path}: no samples")
    kept = distance_to(force.seconds, turn.seconds) <= MOST_APART_SECONDS
    if not kept.any():
        raise MediaError(f"{path}: accelerometer and gyroscope never measured at the same time")
    moments = force.seconds[kept]
    turns = np.stack([np.interp(moments, turn.seconds, axis) for axis in turn.values.T], -1)
    turn_order = order or turn.order or known
    values = np.concatenate([in_order(force.values[kept], known), in_order(turns, turn_order)], 1)
    return write_imu_table(out, moments, values, len(telemetry.force.seconds))


def read_tables(path: Path) -> Telemetry:
    """What lies in two tables of gopro-utils. Raises KarmmaError for a name or content of another kind."""
    if not path.name.endswith(ACCELERATION):
        raise KarmmaError(f"{path}: expected the name of a film or of a table <video>{ACCELERATION}")
    other = path.with_name(path.name.removesuffix(ACCELERATION) + ROTATION)
    return Telemetry("", read_axes(path, "Accl", TABLE_ORDER), read_axes(other, "Gyro", TABLE_ORDER))


def read_axes(path: Path, kind: str, order: str) -> Measured:
    """Three axes over time; cells may be empty. Raises KarmmaError naming file and column for anything else."""
    columns = ("Milliseconds", *(f"{kind}{letter}" for letter in LETTERS))
    table = read_csv(path, columns)
    cells = {column: [row[table.header.index(column)] for row in table.rows] for column in columns}
    times, *axes = (parse_column(path, column, table.lines, cells[column], strict=True) for column in columns)
    return Measured(times / 1000, np.stack(axes, -1), order)


def rising(measured: Measured) -> Measured:
    """Without samples that are no numbers or go back before one that was already there."""
    good = np.isfinite(measured.seconds) & np.isfinite(measured.values).all(1)
    seconds, values = measured.seconds[good], measured.values[good]
    latest = np.concatenate([[-np.inf], np.maximum.accumulate(seconds)[:-1]]) if len(seconds) else seconds
    return Measured(seconds[seconds > latest], values[seconds > latest], measured.order)


def distance_to(moments: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """From each moment to the nearest of the others, which rise."""
    after = np.clip(np.searchsorted(others, moments), 0, len(others) - 1)
    return np.minimum(np.abs(others[after] - moments), np.abs(others[np.maximum(after - 1, 0)] - moments))


def in_order(values: NDArray[np.float64], order: str) -> NDArray[np.float64]:
    """The axes X, Y, Z of samples `(samples, 3)` that come in another order. Raises KarmmaError for what is no order."""
    if sorted(order.upper()) != list(LETTERS):
        raise KarmmaError(f"order {order!r}: expected X, Y, Z in some order, small where an axis is turned round, e.g. YxZ")
    places = [order.upper().index(letter) for letter in LETTERS]
    signs = [1.0 if order[place].isupper() else -1.0 for place in places]
    return values[:, places] * np.array(signs)
