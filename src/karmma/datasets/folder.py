"""One's own data without code: a directory of videos and one CSV.

Columns: `path` (video, relative to the root, or a folder or tar of numbered pictures, of which `pictures_hz` were taken per second;
so with `depth_path`), `start_seconds`, `stop_seconds` (empty: the whole file), any label columns, optionally `split`, `name`,
`participant`, and `<modality>_path` for what lies in a file of its own (boxes, imu, skeleton, hands, `<anything>_features`). An empty
cell means that the sample does not have it. `<modality>_offset_seconds`: how far that file's clock is ahead of the video's.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path

from pydantic.dataclasses import dataclass

from ..config import STRICT
from ..data.manifest import Manifest, Segment, Source
from ..files import rows_of
from ..media.containers import MediaError
from ..media.pictures import PictureSequence, pictures_at
from ..modalities import FROM_PICTURES, FROM_VIDEO, find_modality
from ..types import KarmmaError, LabelSpace

PATH, OFFSET = "_path", "_offset_seconds"
KNOWN = ("path", "pictures_hz", "start_seconds", "stop_seconds", "split", "name", "participant")
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1


@dataclass(frozen=True, config=STRICT)
class FolderConfig:
    """`csv` below the root. `labels`: the columns that are label sets; empty takes every column that is nothing else.

    Without a column `split` whole files are dealt out by a hash of their names: 20 % test, 10 % validation, the rest train.
    `classes` fixes the classes of a label set; otherwise they are those found, sorted.
    """

    csv: str = "clips.csv"
    labels: tuple[str, ...] = ()
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)


Row = tuple[int, dict[str, str]]


def load_folder(root: Path, settings: FolderConfig) -> Manifest:
    """The manifest of a directory. Raises KarmmaError naming file, line and column for the first thing that is wrong.

    Rows whose files are not there are left out and counted.
    """
    path = root / settings.csv
    rows = list(rows_of(path, settings.labels))
    if not rows:
        raise KarmmaError(f"{path}: no rows")
    heads = label_columns(path, rows, settings)
    names = {head: class_names(path, rows, head, settings.classes.get(head)) for head in heads}
    splits: dict[str, list[Segment]] = {}
    missing = 0
    for line, row in rows:
        segment = segment_of(root, path, line, row, names)
        if segment is None:
            missing += 1
            continue
        splits.setdefault(row.get("split") or dealt_split(row.get("path") or segment.name), []).append(segment)
    if not splits:
        raise KarmmaError(f"{path}: none of {len(rows)} rows names a file that is there")
    return Manifest("folder", LabelSpace(names), {split: tuple(segments) for split, segments in splits.items()},
                    provenance={"csv": settings.csv, "rows": len(rows), "rows_without_file": missing})  # fmt: skip


def label_columns(path: Path, rows: Sequence[Row], settings: FolderConfig) -> tuple[str, ...]:
    columns = list(rows[0][1])
    if "path" not in columns and not any(column.endswith(PATH) for column in columns):
        raise KarmmaError(f"{path}: neither a column 'path' nor one of '<modality>_path'; found: {', '.join(columns)}")
    for column in columns:
        if column.endswith(PATH):
            find_modality(column.removesuffix(PATH), f"{path}: column {column}")
        if column.endswith(OFFSET) and column.removesuffix(OFFSET) + PATH not in columns:
            raise KarmmaError(f"{path}: column {column} needs a column {column.removesuffix(OFFSET)}{PATH}")
    heads = settings.labels or tuple(name for name in columns if name not in KNOWN and not name.endswith((PATH, OFFSET)))
    if not heads:
        raise KarmmaError(f"{path}: no column is a label set; found: {', '.join(columns)}")
    return heads


def class_names(path: Path, rows: Sequence[Row], head: str, fixed: Sequence[str] | None) -> tuple[str, ...]:
    """Classes of a label set. Raises KarmmaError for an empty cell or a class that is not among the fixed ones."""
    for line, row in rows:
        if not row[head] or (fixed is not None and row[head] not in fixed):
            allowed = f"; allowed: {', '.join(fixed)}" if fixed is not None else ""
            raise KarmmaError(f"{path}: line {line}: {head} is {row[head] or 'empty'!r}{allowed}")
    return tuple(fixed) if fixed is not None else tuple(sorted({row[head] for _, row in rows}))


def segment_of(
    root: Path, path: Path, line: int, row: Mapping[str, str], names: Mapping[str, Sequence[str]]
) -> Segment | None:
    """A row as a segment, or None where none of its files is there."""
    where = f"{path}: line {line}"
    sources = sources_of_film(where, root / row["path"], row) if row.get("path") else {}
    for column, cell in row.items():
        if column.endswith(PATH) and cell and (source := source_at(where, root / cell, row)) is not None:
            sources[column.removesuffix(PATH)] = source
    if not sources:
        return None
    start, stop = read_times(where, row)
    ahead = {name: seconds for name in sources if (seconds := read_number(where, row, name + OFFSET, 0.0))}
    if not all(map(math.isfinite, ahead.values())):
        raise KarmmaError(f"{where}: an offset is no finite number")
    labels = {head: list(classes).index(row[head]) for head, classes in names.items()}
    name = row.get("name") or f"{row.get('path') or 'row'}:{line}"
    return Segment(name, row.get("participant") or "", start, stop, labels, sources, ahead)


def sources_of_film(where: str, path: Path, row: Mapping[str, str]) -> dict[str, Source]:
    """What a video or numbered pictures may hold; nothing where they are not there. Raises KarmmaError as `source_at` does."""
    source = source_at(where, path, row)
    return {} if source is None else dict.fromkeys(FROM_PICTURES if isinstance(source, PictureSequence) else FROM_VIDEO, source)


def source_at(where: str, path: Path, row: Mapping[str, str]) -> Source | None:
    """A file, or a folder or tar of numbered pictures, the first of which is shown at second 0; None where there is nothing.

    Raises KarmmaError for pictures without their rate, or a folder without any.
    """
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() == ".tar"):
        return path if path.is_file() else None
    frames_hz = read_number(where, row, "pictures_hz", 0.0)
    if not 0 < frames_hz < math.inf:
        what = f"{path.name} is a {'folder' if path.is_dir() else 'tar'} of pictures"
        raise KarmmaError(f"{where}: {what}; how many were taken per second says a column pictures_hz, above 0")
    try:
        return pictures_at(path, frames_hz)
    except MediaError as error:
        raise KarmmaError(f"{where}: {error}") from error


def read_times(where: str, row: Mapping[str, str]) -> tuple[float, float]:
    """Start and stop in seconds; without them the start and the end of the file."""
    start, stop = read_number(where, row, "start_seconds", 0.0), read_number(where, row, "stop_seconds", math.inf)
    if not 0 <= start < stop:
        raise KarmmaError(f"{where}: stop {stop:g} s does not lie after start {start:g} s")
    return start, stop


def read_number(where: str, row: Mapping[str, str], column: str, default: float) -> float:
    """A cell's number; the default where it is empty, is no number by its own words, or there is no such column."""
    cell = row.get(column) or ""
    try:
        number = float(cell) if cell else default
    except ValueError as error:
        raise KarmmaError(f"{where}: {column} {cell!r} is no number") from error
    return default if math.isnan(number) else number


def dealt_split(file: str) -> str:
    share = zlib.crc32(file.encode()) / 2**32
    return "test" if share < TEST_SHARE else "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"
