"""One segment read: an array per modality that it has, and the words of readers that failed. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..media.containers import MediaError
from ..media.duration import TABLES, find_span, has_clock
from ..media.members import TarMember
from ..media.pictures import PictureSequence, doubt_pictures, length_of_pictures
from ..modalities import Modality, PictureReader
from ..modalities.base import doubt_file, offsets_of
from ..modalities.features import Features
from .manifest import Segment, Source

WITHOUT_CLOCK_SECONDS = 1.0  # taken for the length of what no file tells the length of


@dataclass(frozen=True)
class SegmentReading:
    """What came of reading one segment: arrays of the modalities it has, and the words of readers that failed."""

    arrays: dict[str, NDArray[Any]]
    failures: dict[str, str]


def read_segment(segment: Segment, modalities: Mapping[str, Modality]) -> SegmentReading:
    """Read every modality of a segment. What it never had is missing from both; what is broken is in `failures`."""
    arrays, failures = {}, {}
    try:
        start_seconds, stop_seconds = find_bounds(segment, modalities)
    except MediaError as error:
        return SegmentReading({}, dict.fromkeys(segment.sources, str(error)))
    for name, modality in modalities.items():
        source = segment.sources.get(name)
        if source is None:
            continue
        ahead = segment.ahead_seconds.get(name, 0.0)
        try:
            stored = read_source(modality, source, start_seconds + ahead, stop_seconds + ahead)
        except MediaError as error:
            failures[name] = str(error)
            continue
        if stored is not None:
            arrays[name] = stored
    return SegmentReading(arrays, failures)


def find_bounds(segment: Segment, modalities: Mapping[str, Modality] | None = None) -> tuple[float, float]:
    """From when to when a segment goes, in seconds; one without an end to the end of its longest video or sound.

    Without any it is the whole of its tables, from the first sample if it has no start, either, whatever their clock counts from.
    Arrays without a clock have no end and span one second. Raises MediaError if a video does not tell its length.
    """
    if math.isfinite(segment.stop_seconds):
        return segment.start_seconds, segment.stop_seconds
    pictures = [source for source in segment.sources.values() if isinstance(source, PictureSequence)]
    files = {name: source for name, source in segment.sources.items() if isinstance(source, Path)}
    offsets = offsets_of(files, modalities or {})
    for name in segment.ahead_seconds.keys() & files.keys():
        offsets[files[name]] += segment.ahead_seconds[name]
    span = span_of_pictures(pictures, files.values()) if pictures else find_span(files.values(), offsets)
    if span is None:
        return segment.start_seconds, segment.start_seconds + WITHOUT_CLOCK_SECONDS
    start = segment.start_seconds or span[0]
    if span[1] <= start:
        raise MediaError(f"{segment.name}: starts at {start:g} s, but its file ends at {span[1]:g} s")
    return start, span[1]


def span_of_pictures(sequences: Sequence[PictureSequence], files: Iterable[Path]) -> tuple[float, float]:
    """Seconds from 0 to the end of the longest of them, and of videos and sounds beside them that can be read. Raises MediaError."""
    ends = [length_of_pictures(sequence) for sequence in sequences]
    with suppress(MediaError):  # reading the film says so
        film = find_span(path for path in files if path.suffix.lower() not in TABLES)
        ends += [film[1]] if film is not None else []
    return 0.0, max(ends)


def doubt_sources(segments: Sequence[Segment], modalities: Mapping[str, Modality], most: int = 3) -> dict[str, list[str]]:
    """By modality, what speaks against the content of its files, of which no more than so many are looked at."""
    doubts: dict[str, list[str]] = {}
    for name, modality in modalities.items():
        known = (segment.sources[name] for segment in segments if name in segment.sources)
        files = (source for source in dict.fromkeys(known) if not isinstance(source, TarMember) and source.is_file())
        doubts[name] = [words for source in islice(files, most) if (words := doubt_source(modality, source))]
    return {name: words for name, words in doubts.items() if words}


def doubt_source(modality: Modality, source: Path | PictureSequence) -> str:
    """What speaks against a file's content or the rate of pictures; nothing where they cannot be read, which reading tells."""
    if isinstance(source, Path):
        return doubt_file(modality, source)
    try:
        words = doubt_pictures(source)
    except MediaError:
        return ""
    return words and f"{source.path}: {words}"


def read_source(
    modality: Modality, source: Source, start_seconds: float, stop_seconds: float
) -> NDArray[Any] | None:
    """The stored form of a stretch of a file, of numbered pictures or of a file in a tar. Raises MediaError."""
    if isinstance(source, TarMember):
        with source.as_file() as path:
            if isinstance(modality, Features) and modality.rate_hz is not None and not has_clock(path):
                words = "and rate_hz counts from a recording's begin: prepare again with --set rates_hz"
                raise MediaError(f"{source.path}: {source.suffix} has no seconds, {words}")
            return modality.read(path, start_seconds, stop_seconds)
    if not isinstance(source, PictureSequence):
        return modality.read(source, start_seconds, stop_seconds)
    if not isinstance(modality, PictureReader):
        raise MediaError(f"{source.path}: {modality.spec.name} cannot be read from pictures")
    return modality.read_pictures(source, start_seconds, stop_seconds)
