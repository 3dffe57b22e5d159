"""Text, JSON and CSV files: read so that what is wrong is named, written so that a file is either whole or not there."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import socket
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .types import KarmmaError

T = TypeVar("T")
LOCK = ".lock"  # in a directory where a run is or was at work
BYTE_ORDER_MARK = "\ufeff"  # with which spreadsheets begin a text in UTF-8


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` (same suffix) that takes its place when the body ends well, readable as any new file is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    temporary.unlink(missing_ok=True)
    temporary.touch()
    mode = stat.S_IMODE(temporary.stat().st_mode)
    yield temporary
    temporary.chmod(mode)  # safetensors makes files that nobody but their owner may read, and a service is another user
    temporary.replace(path)


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Keep other runs out of a directory while the body writes there; the system lets go when the process ends, however it ends.

    Raises KarmmaError with who is there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise KarmmaError(
                f"{directory}: another run is at work here ({file.read().strip()}); wait for its end, or choose another --out"
            ) from None
        except OSError as error:  # a file system without locks
            print(f"{directory}: cannot be locked ({error.strerror}); no other run may write here meanwhile", file=sys.stderr)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def stem_of(path: Path) -> str:
    """A file's name without its suffix; folders have none."""
    return path.name if path.is_dir() else path.stem


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with a header atomically."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def read_text(path: Path) -> str:
    """A text file in UTF-8. Raises KarmmaError for one that cannot be opened or is no text."""
    try:
        return path.read_text(encoding="utf-8").removeprefix(BYTE_ORDER_MARK)
    except OSError as error:
        raise KarmmaError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KarmmaError(f"{path}: not text in UTF-8: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises KarmmaError for anything else."""
    return read_json_as(path, dict)


def read_json_as(path: Path, kind: type[T]) -> T:
    """What a JSON file holds, which must be a `dict` or a `list`. Raises KarmmaError for anything else."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise KarmmaError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, kind):
        raise KarmmaError(f"{path}: not a JSON {'object' if kind is dict else 'list'}")
    return content


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells, without spaces around them, of every row of a CSV in UTF-8, with or without a byte order mark.

    Empty lines are left out.

    Raises KarmmaError for a file that cannot be opened or is no such text.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            if file.read(1) != BYTE_ORDER_MARK:
                file.seek(0)
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            for row in reader:
                if row:
                    yield reader.line_num, [cell.strip() for cell in row]
    except OSError as error:
        raise KarmmaError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise KarmmaError(f"{path}: not a CSV in UTF-8: {error}") from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(content, indent=1))


@dataclass(frozen=True)
class CsvTable:
    """A CSV with a header: its columns, and the cells of every row with the line where it ends."""

    header: tuple[str, ...]
    lines: tuple[int, ...]
    rows: tuple[list[str], ...]


def read_csv(path: Path, required: Sequence[str]) -> CsvTable:
    """Raises KarmmaError for a missing file or column, a column named twice, or a row of another length."""
    numbered = list(csv_rows(path))
    header = tuple(numbered[0][1]) if numbered else ()
    lacking = [column for column in required if column not in header]
    if lacking:
        raise KarmmaError(f"{path}: no column {lacking[0]!r}; found: {', '.join(header) or 'nothing'}")
    twice = [column for place, column in enumerate(header) if column in header[:place]]
    if twice:
        raise KarmmaError(f"{path}: two columns {twice[0]!r}")
    for line, row in numbered[1:]:
        if len(row) != len(header):
            raise KarmmaError(f"{path}: line {line}: {len(row)} values for {len(header)} columns")
    return CsvTable(header, tuple(line for line, _ in numbered[1:]), tuple(row for _, row in numbered[1:]))


def rows_of(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and cells by column of every row of a CSV. Raises KarmmaError as `read_csv` does."""
    table = read_csv(path, required)
    for line, row in zip(table.lines, table.rows, strict=True):
        yield line, dict(zip(table.header, row, strict=True))
