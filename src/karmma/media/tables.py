"""Sensor tables (CSV whose first column is `seconds`): boxes and inertial measurements, by seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import read_csv
from ..types import KarmmaError
from .containers import MediaError
from .kept import KeptFiles

Columns = dict[str, NDArray[Any]]
AXES = ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z")
EDGES = ("left", "top", "right", "bottom")
SENSOR_COLUMNS = {"imu": AXES, "detections": (*EDGES, "score", "label")}  # beside `seconds`
TEXT = ("label",)
HOLE_SECONDS, HOLE_STEPS = 0.5, 5
FEWEST_ROWS, SLOWEST_STEP = 10, 1.5
TICKS = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}  # and how many of them a sensor's step has at most
KEPT: KeptFiles[Columns] = KeptFiles(64)


def read_table(path: Path, columns: tuple[str, ...] | None = None) -> Columns:
    """The named columns of a CSV and its `seconds`, which must be finite and must not decrease; without names all columns.

    Numbers may be missing or infinite here and there (`require_finite` refuses them where they are needed). Raises
    MediaError naming file, column and line for what is missing or is no number; of columns that nobody named those are text.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    return KEPT.get(path, columns, lambda: parse_table(path, columns))


def parse_table(path: Path, columns: tuple[str, ...] | None) -> Columns:
    """The table as it is in the file."""
    try:
        table = read_csv(path, ("seconds", *(columns or ())))
    except KarmmaError as error:
        raise MediaError(str(error)) from error
    parsed = {}
    for name in ("seconds", *(columns or (name for name in table.header if name != "seconds"))):
        place = table.header.index(name)
        parsed[name] = parse_column(path, name, table.lines, [row[place] for row in table.rows], strict=columns is not None)
    return parsed


def parse_column(path: Path, name: str, lines: Sequence[int], cells: list[str], strict: bool) -> NDArray[Any]:
    """Numbers, or the cells as they are: those of a label, and without `strict` of any column that holds something else."""
    if name in TEXT:
        return np.array(cells, dtype=object)
    try:
        values = np.array([cell or "nan" for cell in cells], dtype=np.float64)
    except ValueError as error:
        if strict or name == "seconds":
            line = next(line for line, cell in zip(lines, cells, strict=True) if cell and not is_number(cell))
            raise MediaError(f"{path}: line {line}: column {name!r}: {error}") from error
        return np.array(cells, dtype=object)
    if name == "seconds":
        bad = ~np.isfinite(values)
        bad[1:] |= np.diff(values) < 0
        if bad.any():
            raise MediaError(f"{path}: line {lines[int(bad.argmax())]}: seconds go backwards or are not a number")
    return values


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def find_gaps(rows: Columns) -> dict[str, float]:
    """Of every column of numbers in which one is missing or infinite, the second of the first such."""
    numbers = {name: values for name, values in rows.items() if values.dtype != object}
    return {
        name: float(rows["seconds"][int((~np.isfinite(values)).argmax())])
        for name, values in numbers.items() if not np.isfinite(values).all()
    }  # fmt: skip


def find_holes(seconds: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Stretches of at least half a second, and of many usual steps, in which a sensor that measures at a rate gave no row."""
    steps = np.diff(seconds)
    if not len(steps):
        return []
    wide = steps > max(HOLE_SECONDS, HOLE_STEPS * float(np.median(steps)))
    return [(float(seconds[place]), float(seconds[place + 1])) for place in np.flatnonzero(wide)]


def doubt_clock(seconds: NDArray[np.float64]) -> str:
    """What speaks against seconds as the unit of a sensor's clock that ticks at a rate; nothing if it looks right or rows are few."""
    step = float(np.median(np.diff(seconds))) if len(seconds) > FEWEST_ROWS else 0.0
    unit = next((name for name, longest in TICKS.items() if SLOWEST_STEP < step <= longest), "")
    return f"a sample every {step:.4g} s: are its seconds {unit}?" if unit else ""


def require_finite(path: Path, rows: Columns) -> None:
    """Raises MediaError naming column and second of the first number that is missing or infinite."""
    for name, second in find_gaps(rows).items():
        raise MediaError(f"{path}: column {name!r} is not a number at {second:.3f} s")


def rows_between(columns: Columns, start_seconds: float, stop_seconds: float) -> Columns:
    """The rows with start ≤ seconds < stop."""
    first, last = np.searchsorted(columns["seconds"], (start_seconds, stop_seconds))
    return {name: values[first:last] for name, values in columns.items()}
