"""Published measurements of accelerometers and gyroscopes as the sensor tables that the modality imu reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import read_csv, write_csv
from ..media.containers import MediaError
from ..media.tables import AXES, parse_column

CLOCK = "canonical_timestamp_ms"  # Ego4D's of the whole video; component_timestamp_ms is of one of the files it was made of
EGO4D_AXES = tuple(f"{kind}_{axis}" for kind in ("accl", "gyro") for axis in "xyz")
NOTHING = ("null", "none")  # what cells without a number may hold, beside nothing at all
LONGEST_SECONDS = 86_400.0  # later moments are among what Ego4D's documentation calls significantly large


@dataclass(frozen=True)
class ImuTable:
    """What was written: rows, from which second to which, and how many samples were left out."""

    rows: int
    start_seconds: float
    stop_seconds: float
    left_out: int


def write_imu_table(out: Path, seconds: NDArray[np.float64], values: NDArray[np.float64], samples: int) -> ImuTable:
    """Moments that rise and `(rows, 6)` force (m/s²) and turn (rad/s) of them as a CSV; `samples` is how many there had been."""
    rows = ([f"{second:.4f}", *(f"{value:.5f}" for value in row)] for second, row in zip(seconds, values, strict=True))
    write_csv(out, ("seconds", *AXES), rows)
    return ImuTable(len(seconds), float(seconds[0]), float(seconds[-1]), samples - len(seconds))


def convert_ego4d_imu(path: Path, out: Path) -> ImuTable:
    """A table of Ego4D's directory `imu` on its video's clock.

    As its documentation asks, rows are sorted by that clock. Those without a moment or a number, of which it warns, are left out,
    and so is what comes a second time at one moment. Raises KarmmaError naming the file and the line for anything else.
    """
    columns = (CLOCK, *EGO4D_AXES)
    table = read_csv(path, columns)
    cells = {column: [row[table.header.index(column)] for row in table.rows] for column in columns}
    cells = {column: ["" if cell.strip().lower() in NOTHING else cell for cell in some] for column, some in cells.items()}
    milliseconds, *axes = (parse_column(path, column, table.lines, cells[column], strict=True) for column in columns)
    seconds, values = milliseconds / 1000, np.stack(axes, -1)
    good = (seconds >= 0) & (seconds <= LONGEST_SECONDS) & np.isfinite(values).all(1)
    moments, first = np.unique(seconds[good], return_index=True)
    if not len(moments):
        raise MediaError(f"{path}: none of {len(seconds)} samples has both a moment and all six numbers")
    return write_imu_table(out, moments, values[good][first], len(seconds))
