"""How long a recording lasts, by the files of its sensors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .containers import MediaError
from .probe import probe
from .series import SUFFIXES, read_clock
from .tables import read_table

TABLES = (".csv", *SUFFIXES)


def find_duration(files: Iterable[Path]) -> float | None:
    """Seconds to the end of the longest video or sound; without any, to the last sample of a file with a clock.

    None where no file has one: arrays without `seconds` span whatever they belong to. A file that cannot be read is not judged
    here, reading it says so; MediaError is raised for a video or sound if no other file tells the length.
    """
    named, lengths, failure = list(dict.fromkeys(files)), list[float](), None
    media = [path for path in named if path.suffix.lower() not in TABLES]
    for path in media:
        try:
            lengths.append(probe(path).duration_seconds)
        except MediaError as error:
            failure = failure or error
    if not lengths:
        lengths = [end for path in named if path not in media and (end := last_second(path)) is not None]
    if not lengths and failure is not None:
        raise failure
    return max(lengths, default=None)


def has_clock(path: Path) -> bool:
    """Whether a file says when what is in it was measured. Raises MediaError."""
    return path.suffix.lower() not in SUFFIXES or read_clock(path) is not None


def last_second(path: Path) -> float | None:
    """Of the last sample in a table or an array; None without a clock or a sample after 0 s, or if it cannot be read."""
    try:
        clock = read_table(path)["seconds"] if path.suffix.lower() == ".csv" else read_clock(path)
    except MediaError:
        return None
    return float(clock[-1]) if clock is not None and len(clock) and clock[-1] > 0 else None
