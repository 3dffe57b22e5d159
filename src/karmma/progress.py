"""What long work tells a person: one bar per stage with time left, or plain lines where nobody watches."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from . import processes


class Progress:
    """A stage's progress: `update(done, total, note)`. On a terminal a bar, elsewhere a line at the end of the stage."""

    def __init__(self, title: str) -> None:
        self.title, self.started, self.note = title, time.perf_counter(), ""
        self.console = Console(stderr=True)
        self.bar = Bar(
            TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"), console=self.console,
        )  # fmt: skip
        self.task = self.bar.add_task(title, total=None, note="")
        self.live = sys.stderr.isatty() and processes.is_first()

    def update(self, done: int, total: int, note: str = "") -> None:
        self.note = note
        if self.live:
            self.bar.update(self.task, completed=done, total=total, note=note)

    def __enter__(self) -> Progress:
        if self.live:
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live:
            self.bar.stop()
        elif kind is None and processes.is_first():
            seconds = time.perf_counter() - self.started
            print(f"{self.title:<28} {seconds:7.1f} s  {self.note}", file=sys.stderr, flush=True)
