"""EPIC-KITCHENS-100's annotation CSVs, read unchanged. Every complaint names file and line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..files import csv_rows, rows_of
from ..types import KarmmaError

TIMES = ("narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp")
REQUIRED = (*TIMES, "verb_class", "noun_class")


@dataclass(frozen=True)
class TimedAction:
    """A stretch of a video without labels (test timestamps); seconds from the start of the video."""

    narration_id: str
    participant_id: str
    video_id: str
    start_seconds: float
    stop_seconds: float

    @property
    def labels(self) -> dict[str, int]:
        return {}


@dataclass(frozen=True)
class AnnotatedAction(TimedAction):
    """One row of an annotation CSV."""

    verb_class: int
    noun_class: int

    @property
    def labels(self) -> dict[str, int]:
        return {"verb": self.verb_class, "noun": self.noun_class}


def parse_timestamp(text: str) -> float:
    """Seconds of `HH:MM:SS.sss`. Raises ValueError for anything else."""
    hours, minutes, seconds = text.split(":")
    value = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if not 0 <= value < float("inf") or not 0 <= float(seconds) < 60 or not 0 <= int(minutes) < 60:
        raise ValueError(text)
    return value


def read_actions(path: Path, verbs: int, nouns: int) -> list[AnnotatedAction]:
    """All actions of a CSV in EPIC-100's columns. Raises KarmmaError naming file and line of the first bad row."""
    return [parse_action(path, line, row, verbs, nouns) for line, row in rows_of(path, REQUIRED)]


def read_timestamps(path: Path) -> list[TimedAction]:
    """All actions of a CSV that holds no labels."""
    return [
        TimedAction(row["narration_id"], row["participant_id"], row["video_id"], *parse_times(f"{path}: line {line}", row))
        for line, row in rows_of(path, TIMES)
    ]


def parse_times(where: str, row: dict[str, str]) -> tuple[float, float]:
    """Start and stop in seconds; the stop lies after the start."""
    times = {}
    for column in ("start_timestamp", "stop_timestamp"):
        try:
            times[column] = parse_timestamp(row[column])
        except ValueError as error:
            raise KarmmaError(f"{where}: {column} {row[column]!r} is not HH:MM:SS.sss") from error
    start, stop = times["start_timestamp"], times["stop_timestamp"]
    if stop <= start:
        raise KarmmaError(f"{where}: stop {row['stop_timestamp']} does not lie after start {row['start_timestamp']}")
    return start, stop


def parse_action(path: Path, line: int, row: dict[str, str], verbs: int, nouns: int) -> AnnotatedAction:
    where = f"{path}: line {line}"
    start, stop = parse_times(where, row)
    classes = {}
    for column, count in (("verb_class", verbs), ("noun_class", nouns)):
        classes[column] = parse_class(where, column, row[column], count)
    return AnnotatedAction(
        row["narration_id"],
        row["participant_id"],
        row["video_id"],
        start,
        stop,
        classes["verb_class"],
        classes["noun_class"],
    )


def parse_class(where: str, column: str, text: str, count: int) -> int:
    if not text.isdecimal() or int(text) >= count:
        raise KarmmaError(f"{where}: {column} {text!r} is not a class number below {count}")
    return int(text)


def read_rulstm(path: Path, verbs: int, nouns: int, frames_hz: float = 30.0) -> list[AnnotatedAction]:
    """The RULSTM project's labels: no header; narration, video, first and last frame at 30 Hz, verb, noun, action."""
    actions = []
    for line, row in csv_rows(path):
        where = f"{path}: line {line}"
        if len(row) != 7 or not row[2].strip().isdecimal() or not row[3].strip().isdecimal():
            raise KarmmaError(f"{where}: expected narration, video, first frame, last frame, verb, noun, action")
        name, video, first, last, verb, noun = (cell.strip() for cell in row[:6])
        if int(last) <= int(first):
            raise KarmmaError(f"{where}: last frame {last} does not lie after first frame {first}")
        actions.append(AnnotatedAction(
            name, video.split("_")[0], video, int(first) / frames_hz, int(last) / frames_hz,
            parse_class(where, "verb", verb, verbs), parse_class(where, "noun", noun, nouns),
        ))  # fmt: skip
    return actions


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names in the order of their ids. Raises KarmmaError if ids are not 0, 1, 2, …"""
    names: list[str] = []
    for line, row in rows_of(path, ("id", "key")):
        if row["id"] != str(len(names)):
            raise KarmmaError(f"{path}: line {line}: id {row['id']!r}, expected {len(names)}")
        names.append(row["key"])
    return tuple(names)


def read_column(path: Path, column: str) -> list[str]:
    """The cells of one column: tail classes, unseen participants."""
    return [row[column] for _, row in rows_of(path, (column,))]
