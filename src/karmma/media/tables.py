"""Sensor tables (CSV whose first column is `seconds`): boxes and inertial measurements, by seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import read_csv
from ..types import KarmmaError
from .containers import MediaError

Columns = dict[str, NDArray[np.float64]]


def read_table(path: Path, text_columns: tuple[str, ...] = ()) -> Columns:
    """All columns of a CSV; `text_columns` stay strings. Raises MediaError naming file, line and column.

    `seconds` must be finite and must not decrease.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    status = path.stat()
    return parse_table(path, text_columns, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def parse_table(path: Path, text_columns: tuple[str, ...], changed_ns: int, size: int) -> Columns:
    """A table is parsed once, and again when its file has changed: many segments lie in one recording."""
    try:
        table = read_csv(path, ("seconds",))
    except KarmmaError as error:
        raise MediaError(str(error)) from error
    columns = {name: [row[place] for row in table.rows] for place, name in enumerate(table.header)}
    return {name: parse_column(path, name, table.lines, cells, name in text_columns) for name, cells in columns.items()}


def parse_column(path: Path, name: str, lines: Sequence[int], cells: list[str], is_text: bool) -> NDArray[np.float64]:
    if is_text:
        return np.array(cells, dtype=object)
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError as error:
        raise MediaError(f"{path}: column {name!r}: {error}") from error
    if name == "seconds":
        bad = ~np.isfinite(values)
        bad[1:] |= np.diff(values) < 0
        if bad.any():
            raise MediaError(f"{path}: line {lines[int(bad.argmax())]}: seconds go backwards or are not a number")
    return values


def rows_between(columns: Columns, start_seconds: float, stop_seconds: float) -> Columns:
    """The rows with start ≤ seconds < stop."""
    first, last = np.searchsorted(columns["seconds"], (start_seconds, stop_seconds))
    return {name: values[first:last] for name, values in columns.items()}
