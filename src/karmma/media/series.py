"""Sensor series of arrays over time: MATLAB files (UTD-MHAD), NumPy arrays and archives."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from .containers import MediaError

# What scipy and numpy raise on files that are truncated, of another kind, or hostile.
BROKEN = (ValueError, OSError, EOFError, KeyError, IndexError, TypeError, NotImplementedError, MemoryError, OverflowError,
          RuntimeError, SyntaxError, tokenize.TokenError, zlib.error, zipfile.BadZipFile, scipy.io.matlab.MatReadError)  # fmt: skip


@dataclass(frozen=True)
class Series:
    """`values` `(samples, …)` at `seconds` `(samples,)`, or without a clock: then it spans its segment evenly."""

    values: NDArray[np.float32]
    seconds: NDArray[np.float64] | None = None

    def covers(self, start_seconds: float, stop_seconds: float) -> bool:
        """Whether anything was measured between the two moments; a series without a clock spans its segment."""
        return self.seconds is None or bool(((self.seconds >= start_seconds) & (self.seconds < stop_seconds)).any())

    def at(self, moments: NDArray[np.float64], start_seconds: float, stop_seconds: float) -> NDArray[np.float32]:
        """Linear interpolation at `moments` (seconds) of a segment."""
        positions = self.positions(moments, start_seconds, stop_seconds)
        below = np.minimum(np.floor(positions).astype(np.int64), max(len(self.values) - 2, 0))
        above = np.minimum(below + 1, len(self.values) - 1)
        share = (positions - below).reshape(-1, *[1] * (self.values.ndim - 1)).astype(np.float32)
        return self.values[below] * (1 - share) + self.values[above] * share

    def nearest(self, moments: NDArray[np.float64], start_seconds: float, stop_seconds: float) -> NDArray[np.float32]:
        """The samples nearest to `moments` (seconds) of a segment."""
        return self.values[np.rint(self.positions(moments, start_seconds, stop_seconds)).astype(np.int64)]

    def positions(self, moments: NDArray[np.float64], start_seconds: float, stop_seconds: float) -> NDArray[np.float64]:
        """Fractional indices of `moments`, held within the series."""
        if self.seconds is not None:
            return np.interp(moments, self.seconds, np.arange(len(self.seconds)))
        share = (moments - start_seconds) / max(stop_seconds - start_seconds, 1e-9)
        return np.clip(share * len(self.values) - 0.5, 0, len(self.values) - 1)


def read_series(path: Path, key: str, time_axis: int = 0) -> Series:
    """The array `key` of a .mat or .npz file, or a .npy file, with time moved to the front.

    An .npz may hold `seconds` beside it.

    Raises MediaError naming file and key for anything missing, broken, empty or not finite.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    try:
        content = load_arrays(path, key)
    except BROKEN as error:
        raise MediaError(f"{path}: unreadable: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if key not in content:
        found = ", ".join(name for name in content if not name.startswith("__"))
        raise MediaError(f"{path}: no array {key!r}; found: {found or 'nothing'}")
    values = np.asarray(content[key])
    if values.dtype.kind not in "uif" or values.ndim <= time_axis % max(values.ndim, 1) or not values.size:
        raise MediaError(f"{path}: {key!r} is no array of numbers over time, but {values.dtype} {values.shape}")
    with np.errstate(over="ignore"):
        values = np.moveaxis(values, time_axis, 0).astype(np.float32)
    if not np.isfinite(values).all():
        raise MediaError(f"{path}: {key!r} holds values that are not finite")
    return Series(values, checked_clock(path, content.get("seconds"), len(values)))


def load_arrays(path: Path, key: str) -> dict[str, NDArray[np.generic]]:
    if path.suffix == ".mat":
        return dict(scipy.io.loadmat(path, variable_names=[key]))
    if path.suffix == ".npy":
        return {key: np.load(path, mmap_mode="r", allow_pickle=False)}
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name in (key, "seconds")}


def checked_clock(path: Path, seconds: NDArray[np.generic] | None, samples: int) -> NDArray[np.float64] | None:
    if seconds is None:
        return None
    clock = np.asarray(seconds, np.float64).ravel()
    if len(clock) != samples or not np.isfinite(clock).all() or (np.diff(clock) < 0).any():
        raise MediaError(f"{path}: seconds are not {samples} finite, growing moments")
    return clock
