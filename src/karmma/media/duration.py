"""From when to when a recording goes, by the files of its sensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .containers import MediaError
from .probe import probe
from .series import SUFFIXES, read_clock
from .tables import read_table

TABLES = (".csv", *SUFFIXES)


def find_span(files: Iterable[Path], offsets: Mapping[Path, float] | None = None) -> tuple[float, float] | None:
    """Seconds from 0 to the end of the longest video or sound; without any, from the first to the last sample of files with a clock.

    `offsets`: how far the clocks of some files are ahead of the recording's.

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
    if lengths:
        return 0.0, max(lengths)
    tables = {path: span for path in named if path not in media and (span := span_of_table(path)) is not None}
    if not tables and failure is not None:
        raise failure
    ahead = {path: (offsets or {}).get(path, 0.0) for path in tables}
    spans = [(first - ahead[path], last - ahead[path]) for path, (first, last) in tables.items()]
    return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None


def has_clock(path: Path) -> bool:
    """Whether a file says when what is in it was measured. Raises MediaError."""
    return path.suffix.lower() not in SUFFIXES or read_clock(path) is not None


def span_of_table(path: Path) -> tuple[float, float] | None:
    """Of the first and the last sample in a table or an array; None without a clock or two moments, or if it cannot be read."""
    try:
        clock = read_table(path)["seconds"] if path.suffix.lower() == ".csv" else read_clock(path)
    except MediaError:
        return None
    return (float(clock[0]), float(clock[-1])) if clock is not None and len(clock) and clock[-1] > clock[0] else None
