"""Sensor series of arrays over time: MATLAB files (UTD-MHAD), NumPy arrays and archives."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from ..types import kind_of
from .containers import MediaError
from .kept import KeptFiles

# What scipy and numpy raise on files that are truncated, of another kind, or hostile.
BROKEN = (ValueError, OSError, EOFError, KeyError, IndexError, TypeError, NotImplementedError, MemoryError, OverflowError,
          RuntimeError, SyntaxError, tokenize.TokenError, zlib.error, zipfile.BadZipFile, scipy.io.matlab.MatReadError)  # fmt: skip
SUFFIXES = (".mat", ".npy", ".npz")
KEYS = {"skeleton": "skeleton", "depth": "depth_metres"}  # of the arrays in files of one's own
MATLAB_KEYS = {"imu": ("d_iner", 0), "skeleton": ("d_skel", -1), "depth": ("d_depth", -1)}  # UTD-MHAD's, and which axis is time


@dataclass(frozen=True)
class Series:
    """`values` `(samples, …)` at `seconds` `(samples,)`, or without a clock: then it spans its segment evenly.

    A recording may hold values that are no numbers here and there: `at` and `nearest` raise MediaError, naming `source` and the
    second, where they would give one.
    """

    values: NDArray[Any]
    seconds: NDArray[np.float64] | None = None
    source: str = ""

    def covers(self, start_seconds: float, stop_seconds: float) -> bool:
        """Whether anything was measured between the two moments; a series without a clock spans its segment."""
        return self.seconds is None or bool(((self.seconds >= start_seconds) & (self.seconds < stop_seconds)).any())

    def at(self, moments: NDArray[np.float64], start_seconds: float, stop_seconds: float) -> NDArray[np.float32]:
        """Linear interpolation at `moments` (seconds) of a segment."""
        positions = self.positions(moments, start_seconds, stop_seconds)
        below = np.minimum(np.floor(positions).astype(np.int64), max(len(self.values) - 2, 0))
        above = np.minimum(below + 1, len(self.values) - 1)
        share = (positions - below).reshape(-1, *[1] * (self.values.ndim - 1)).astype(np.float32)
        return self.finite(self.values[below] * (1 - share) + self.values[above] * share, moments)

    def nearest(
        self, moments: NDArray[np.float64], start_seconds: float, stop_seconds: float, gap: float | None = None
    ) -> NDArray[Any]:
        """The samples nearest to `moments` (seconds) of a segment, as they are, or with a `gap` where something is no number."""
        values = self.values[np.rint(self.positions(moments, start_seconds, stop_seconds)).astype(np.int64)]
        if gap is not None:
            return np.where(np.isfinite(values), values, values.dtype.type(gap))
        return self.finite(values, moments)

    def finite(self, values: NDArray[Any], moments: NDArray[np.float64]) -> NDArray[Any]:
        """The values at some moments. Raises MediaError if one is no number; without a clock that was seen when it was read."""
        if self.seconds is None or values.dtype.kind != "f":
            return values
        lost = ~np.isfinite(values).reshape(len(values), -1).all(1)
        if lost.any():
            raise MediaError(f"{self.source}: values that are no numbers at {moments[int(lost.argmax())]:.3f} s")
        return values

    def positions(self, moments: NDArray[np.float64], start_seconds: float, stop_seconds: float) -> NDArray[np.float64]:
        """Fractional indices of `moments`, held within the series."""
        if self.seconds is not None:
            return np.interp(moments, self.seconds, np.arange(len(self.seconds)))
        share = (moments - start_seconds) / max(stop_seconds - start_seconds, 1e-9)
        return np.clip(share * len(self.values) - 0.5, 0, len(self.values) - 1)


def key_in_file(modality: str, suffix: str) -> tuple[str, int]:
    """The name of a modality's array in a .mat file, an .npz or an .npy, and which of its axes is time."""
    kind = kind_of(modality)
    return MATLAB_KEYS[kind] if suffix == ".mat" and kind in MATLAB_KEYS else (KEYS.get(kind, kind), 0)


CLOCKS: KeptFiles[NDArray[np.float64] | None] = KeptFiles(64)
RECORDINGS: KeptFiles[Series] = KeptFiles(4)


def read_series(path: Path, key: str, time_axis: int = 0, gaps: bool = False) -> Series:
    """The array `key` of a .mat or .npz file, or a .npy file, with time moved to the front.

    An .npz may hold `seconds` beside it: a recording out of which segments are cut, and which is parsed once.

    Raises MediaError naming file and key for anything missing, broken or empty, and for values that are not finite in arrays
    without a clock, unless the caller fills such `gaps`; one with a clock is refused only where such a value is asked for.
    """
    if read_clock(path) is None:
        series = parse_series(path, key, time_axis)
        if not gaps and not np.isfinite(series.values).all():
            raise MediaError(f"{path}: {key!r} holds values that are not finite")
        return series
    return RECORDINGS.get(path, (key, time_axis), lambda: parse_series(path, key, time_axis))


def read_clock(path: Path) -> NDArray[np.float64] | None:
    """When each sample of an .npz was taken, or None if it does not say, as other files cannot. Raises MediaError."""
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    return CLOCKS.get(path, None, lambda: parse_clock(path)) if path.suffix.lower() == ".npz" else None


def parse_clock(path: Path) -> NDArray[np.float64] | None:
    seconds, _ = load_array(path, "seconds")
    return None if seconds is None else checked_clock(path, seconds)


def parse_series(path: Path, key: str, time_axis: int) -> Series:
    found, others = load_array(path, key)
    if found is None:
        raise MediaError(f"{path}: no array {key!r}; found: {', '.join(others) or 'nothing'}")
    values = np.asarray(found)
    if values.dtype.kind not in "uif" or values.ndim <= time_axis % max(values.ndim, 1) or not values.size:
        raise MediaError(f"{path}: {key!r} is no array of numbers over time, but {values.dtype} {values.shape}")
    with np.errstate(over="ignore"):
        values = np.moveaxis(values, time_axis, 0).astype(np.float32)
    clock = read_clock(path)
    if clock is not None and len(clock) != len(values):
        raise MediaError(f"{path}: {len(values)} samples of {key!r}, but {len(clock)} seconds")
    return Series(values, clock, str(path))


def load_array(path: Path, key: str) -> tuple[NDArray[np.generic] | None, list[str]]:
    """The array `key` of a file, or None, and what else there is. Raises MediaError."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MediaError(f"{path}: arrays are read from {', '.join(SUFFIXES)}, not from {path.suffix or 'a file without a suffix'}")
    try:
        if suffix == ".mat":
            found = scipy.io.loadmat(path, variable_names=[key]).get(key)
            return found, [] if found is not None else [name for name, _, _ in scipy.io.whosmat(path)]
        if suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False), []
        with np.load(path, allow_pickle=False) as archive:
            return (archive[key] if key in archive.files else None), archive.files
    except BROKEN as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> MediaError:
    """What is said of a file that numpy or scipy cannot read. That pickles could be loaded all the same is not said."""
    if "allow_pickle" in str(error):
        return MediaError(f"{path}: holds pickled objects, which are not loaded, or is no {path.suffix}")
    return MediaError(f"{path}: unreadable: {type(error).__name__}: {' '.join(str(error).split())}")


def checked_clock(path: Path, seconds: NDArray[np.generic]) -> NDArray[np.float64]:
    try:
        clock = np.asarray(seconds, np.float64).ravel()
    except BROKEN as error:
        raise MediaError(f"{path}: seconds are no numbers") from error
    if not len(clock) or not np.isfinite(clock).all() or (np.diff(clock) < 0).any():
        raise MediaError(f"{path}: seconds are not finite, growing moments")
    return clock
