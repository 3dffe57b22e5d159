"""Stretches of sensors' own files: rows of a table, samples of a recording of arrays, frames of a film of depth pictures."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..media.containers import MediaError
from ..media.pictures import PictureSequence, length_of_pictures, read_picture_depths
from ..media.series import BROKEN, SUFFIXES, key_in_file, read_clock, read_series, unreadable
from ..media.tables import read_table, rows_between
from ..media.video import decode_from, grey16_of
from ..media.write import DepthWriter
from ..types import kind_of


def cut_file(
    name: str, path: Path, first: float, last: float, *,
    rate_hz: float | None = None, ahead_seconds: float = 0.0, earliest: float = math.inf,
) -> tuple[bytes, str] | None:  # fmt: skip
    """A stretch of one modality's file with seconds from its start, and the suffix it goes by; None if there is no file.

    A table's clock may be `ahead_seconds` of the recording's, and stays so; from `earliest` on it may begin before the recording.
    Arrays without a clock have their samples at `rate_hz`; without a rate they span their segment, and are taken whole, as is what
    is no table, array or film of depth pictures. Raises MediaError for what cannot be read.
    """
    if not path.is_file():
        return None
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return cut_table(path, min(earliest, first) + ahead_seconds, last + ahead_seconds, first), f"{name}.csv"
    if suffix in SUFFIXES and read_clock(path) is not None:
        return cut_arrays(path, first, last), f"{name}.npz"
    if suffix in SUFFIXES and rate_hz is not None:
        return cut_rated(name, path, first, last, rate_hz), f"{name}.npz"
    if kind_of(name) == "depth" and suffix not in SUFFIXES:
        return cut_depth_film(path, first, last), f"{name}.mkv"
    return path.read_bytes(), f"{name}{path.suffix}"


def cut_table(path: Path, start: float, stop: float, first: float) -> bytes:
    """The rows of a stretch with seconds from `first` on."""
    rows = rows_between(read_table(path), start, stop)
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(list(rows))
    columns = [rows[key] - first if key == "seconds" else rows[key] for key in rows]
    writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in zip(*columns, strict=True))
    return buffer.getvalue().encode()


def cut_arrays(path: Path, first: float, last: float) -> bytes:
    """The samples of a stretch, and one more on either side to interpolate from; arrays that are not over time stay whole."""
    clock = read_clock(path)
    assert clock is not None
    low, high = places_of(clock, first, last)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name != "seconds"}
    except BROKEN as error:
        raise unreadable(path, error) from error
    kept = {name: values[low:high] if len(np.atleast_1d(values)) == len(clock) else values for name, values in arrays.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, seconds=clock[low:high] - first, **kept)
    return buffer.getvalue()


def cut_rated(name: str, path: Path, first: float, last: float, rate_hz: float) -> bytes:
    """As `cut_arrays`, of one array whose sample i lies at (i + ½) / rate."""
    if path.suffix.lower() == ".mat":
        raise MediaError(f"{path}: a rate (rates_hz.{name}) is for .npy and .npz; .mat files span their segment")
    key, axis = key_in_file(name, path.suffix.lower())
    values = read_series(path, key, axis, gaps=True).values
    clock = np.arange(0.5, len(values)) / rate_hz
    low, high = places_of(clock, first, last)
    arrays: dict[str, Any] = {"seconds": clock[low:high] - first, key: values[low:high]}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def places_of(clock: NDArray[np.float64], first: float, last: float) -> tuple[int, int]:
    """From which sample to which a stretch reaches, with one more on either side."""
    low, high = int(np.searchsorted(clock, first)) - 1, int(np.searchsorted(clock, last, side="right")) + 1
    return max(low, 0), min(high, len(clock))


def cut_depth_film(path: Path, first: float, last: float) -> bytes:
    """The frames of 16-bit grey of a stretch, without loss (FFV1 in Matroska)."""
    frames = itertools.takewhile(lambda frame: frame.seconds <= last, decode_from(path, first))
    return depth_film(path, ((frame.seconds - first, grey16_of(path, frame)) for frame in frames), first)


def cut_depth_pictures(sequence: PictureSequence, first: float, last: float) -> bytes:
    """The same of numbered pictures."""
    numbers = range(sequence.number_at(max(first, 0.0)), sequence.number_at(last) + 1)
    moments = [second for number in numbers if (second := sequence.second_of(number)) <= min(last, length_of_pictures(sequence))]
    return depth_film(sequence.path, ((second - first, read_picture_depths(sequence, [second])[0]) for second in moments), first)


def depth_film(path: Path, pictures: Iterable[tuple[float, NDArray[np.uint16]]], first: float) -> bytes:
    """Pictures by their seconds as a film of 16-bit grey, without loss. Raises MediaError, naming the path, if there is none."""
    buffer = io.BytesIO()
    with DepthWriter(buffer) as writer:
        for seconds, picture in pictures:
            writer.write(picture, seconds)
        if writer.stream is None:
            raise MediaError(f"{path}: no frame can be decoded from {first:.2f} s on")
    return buffer.getvalue()
