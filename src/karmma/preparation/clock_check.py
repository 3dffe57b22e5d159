"""Whether IMUs keep time with the films that they belong to: part of `karmma check`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.manifest import Segment
from ..media.clocks import LONGEST_SECONDS, ClockOffset, camera_motion, find_offset, sensor_motion
from ..media.containers import MediaError
from ..media.pictures import PictureSequence, length_of_pictures
from ..media.probe import probe
from ..types import kind_of

LATE_SECONDS = 0.1  # by which a clock is off that somebody should look at


@dataclass(frozen=True)
class ClockPair:
    """A film, or its numbered pictures, and the IMU's table beside it; `ahead_seconds` is what the data set says already."""

    film: Path | PictureSequence
    table: Path
    ahead_seconds: float
    sensor: str = "imu"

    @property
    def film_name(self) -> str:
        return (self.film if isinstance(self.film, Path) else self.film.path).name


@dataclass(frozen=True)
class ClockReport:
    """What a table's clock is like beside one film: warnings about its file, and where both see the same turns best."""

    pair: ClockPair
    offset: ClockOffset | None
    warnings: list[str]


def find_pairs(segments: Iterable[Segment]) -> list[ClockPair]:
    """Every film with an IMU's table, once."""
    pairs = {}
    for segment in segments:
        film = segment.sources.get("rgb")
        for name, table in segment.sources.items():
            if kind_of(name) != "imu" or not isinstance(table, Path) or table.suffix.lower() != ".csv":
                continue
            if isinstance(film, Path | PictureSequence) and film.is_file() and table.is_file():
                pairs[film, table] = ClockPair(film, table, segment.ahead_seconds.get(name, 0.0), name)
    return list(pairs.values())


def compare_clocks(pair: ClockPair) -> ClockReport:
    """By how much the table is ahead at the film's begin and, of a long one, at its end. What cannot be read others have named."""
    try:
        length = probe(pair.film).duration_seconds if isinstance(pair.film, Path) else length_of_pictures(pair.film)
        sensor = sensor_motion(pair.table)
        begin = find_offset(camera_motion(pair.film, 0.0), sensor, pair.ahead_seconds)
        late = length - LONGEST_SECONDS if length > 2 * LONGEST_SECONDS else None
        end = find_offset(camera_motion(pair.film, late), sensor, pair.ahead_seconds) if late is not None else None
    except MediaError:
        return ClockReport(pair, None, [])
    warnings = words_of(pair, begin, end)
    if not warnings and not (begin and begin.is_sure) and len(sensor.seconds):
        first, last = (float(sensor.seconds[row]) - pair.ahead_seconds for row in (0, -1))
        if first > length or last < 0:
            warnings = [f"its seconds go from {first:.2f} to {last:.2f}, those of {pair.film_name} to {length:.2f}: another clock?"]
    return ClockReport(pair, begin, warnings)


def clock_facts(reports: Iterable[ClockReport]) -> dict[str, Any]:
    """By how much one table's clock is ahead; of one that belongs to several films, of each of them."""
    found = [(report.pair.film_name, report.offset) for report in reports if report.offset is not None]
    if len(found) > 1:
        words = (f"{film} {offset.seconds:.3f} ({offset.correlation:.2f})" for film, offset in found)
        return {"ahead_seconds_by_film": "; ".join(words)}
    if not found:
        return {}
    ((_, offset),) = found
    return {"ahead_seconds": round(offset.seconds, 3), "ahead_correlation": round(offset.correlation, 3)}


def words_of(pair: ClockPair, begin: ClockOffset | None, end: ClockOffset | None) -> list[str]:
    """What somebody should look at: a clock that is off, or runs off; only where both motions clearly fit."""
    words = []
    if begin is not None and begin.is_sure and abs(begin.seconds - pair.ahead_seconds) > LATE_SECONDS:
        way = "ahead of" if begin.seconds >= 0 else "behind"
        said = f" (the data set says {pair.ahead_seconds:.2f})" if pair.ahead_seconds else ""
        fit = f"both see the same turns then, correlation {begin.correlation:.2f}; {pair.sensor}_offset_seconds {begin.seconds:.2f}?"
        words.append(f"its clock is {abs(begin.seconds):.2f} s {way} {pair.film_name}'s{said}: {fit}")
    if begin is not None and end is not None and begin.is_sure and end.is_sure:
        drift = end.seconds - begin.seconds
        if abs(drift) > LATE_SECONDS:
            words.append(f"its clock runs off: from the begin to the end of {pair.film_name} by {drift:+.2f} s")
    return words
