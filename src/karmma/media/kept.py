"""What was parsed of files, kept for the next who asks: many segments and windows lie in one recording."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Generic, TypeVar

from .containers import FileKey, file_key

T = TypeVar("T")
EVERY: list[KeptFiles[Any]] = []  # one for each kind of file


class KeptFiles(Generic[T]):
    """The latest `most` things that were parsed, each again when its file has changed. Threads may share it."""

    def __init__(self, most: int) -> None:
        self.most, self.lock = most, threading.Lock()
        self.kept: OrderedDict[tuple[FileKey, Hashable], T] = OrderedDict()
        EVERY.append(self)

    def get(self, path: Path, what: Hashable, parse: Callable[[], T]) -> T:
        """`what` of a file, parsed if it is not here."""
        key = (file_key(path), what)
        with self.lock:
            if key in self.kept:
                self.kept.move_to_end(key)
                return self.kept[key]
        parsed = parse()
        with self.lock:
            self.kept[key] = parsed
            while len(self.kept) > self.most:
                self.kept.popitem(last=False)
        return parsed

    def forget(self, directory: Path) -> None:
        """Drop what is kept of files below a directory that is about to go away."""
        with self.lock:
            for key in [key for key in self.kept if Path(key[0][0]).is_relative_to(directory)]:
                del self.kept[key]


def forget_files(directory: Path) -> None:
    """Drop what is kept of any kind of file below a directory that is about to go away."""
    for kept in EVERY:
        kept.forget(directory)
