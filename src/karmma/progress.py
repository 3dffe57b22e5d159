"""What long work tells a person: one bar per stage with time left, or plain lines where nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from threading import Event, Thread
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from . import processes

Reports = SimpleQueue[tuple[str, int, int, str]]  # (title, done, total, note) of stages in worker processes
REPORT_SECONDS = 0.2  # a worker reports no more often
LOOK_SECONDS = 0.1  # and its parent looks no more often
FIRST_LINE_SECONDS, LINE_SECONDS = 60.0, 600.0  # where nobody watches: a line after a minute, then ever less often, at last so often
_reports: Reports | None = None


def make_bar() -> Bar:
    return Bar(
        TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"), console=Console(stderr=True),
    )  # fmt: skip


@contextmanager
def bars_of_workers() -> Iterator[Reports | None]:
    """Draws a bar for every stage that worker processes report of; None where nobody watches.

    What is yielded goes to `report_to` in each of them.
    """
    if not sys.stderr.isatty():
        yield None
        return
    reports: Reports = get_context("spawn").SimpleQueue()
    with make_bar() as bar:
        ended = Event()  # said without the queue, whose lock a process may have died with
        thread = Thread(target=draw, args=(reports, bar, ended), daemon=True)
        thread.start()
        try:
            yield reports
        finally:
            ended.set()
            thread.join()


def draw(reports: Reports, bar: Bar, ended: Event) -> None:
    """Keep a bar per title up to date, until all is reported and done."""
    tasks = {}
    while True:
        last = ended.is_set()  # asked before the queue is, so that nothing is missed
        if reports.empty():
            if last:
                return
            ended.wait(LOOK_SECONDS)
            continue
        title, done, total, note = reports.get()
        if title not in tasks:
            tasks[title] = bar.add_task(title, total=total, note="")
        bar.update(tasks[title], completed=done, total=total, note=note)


def report_to(reports: Reports | None) -> None:
    """Let the parent of this process draw its stages' bars."""
    global _reports
    _reports = reports


class Progress:
    """A stage's progress: `update(done, total, note)`. On a terminal a bar; elsewhere, as in a cluster's log, a line now and then
    and one at the end of the stage."""

    def __init__(self, title: str) -> None:
        self.title, self.started, self.note, self.reported = title, time.perf_counter(), "", 0.0
        self.bar = make_bar()
        self.task = self.bar.add_task(title, total=None, note="")
        self.watched = sys.stderr.isatty() and processes.is_first()
        self.live = self.watched and _reports is None
        self.told, self.pause, self.already = self.started, FIRST_LINE_SECONDS, -1

    def update(self, done: int, total: int, note: str = "") -> None:
        self.note = note
        if self.live:
            self.bar.update(self.task, completed=done, total=total, note=note)
        elif _reports is not None and (done == total or time.perf_counter() > self.reported + REPORT_SECONDS):
            _reports.put((self.title, done, total, note))
            self.reported = time.perf_counter()
        elif not self.watched and processes.is_first():
            self.tell(done, total)

    def tell(self, done: int, total: int) -> None:
        """A line if the last one is long ago, with the time left as it goes since this process began (a stage may be resumed)."""
        now = time.perf_counter()
        self.already = done if self.already < 0 else self.already
        if now < self.told + self.pause or done == total:
            return
        gone, since = now - self.started, done - self.already
        left = gone / since * (total - done) if since else 0.0
        remaining = f", about {left / 60:.0f} min left" if left >= 60 else f", about {left:.0f} s left" if since else ""
        print(f"{self.title:<28} {done} of {total} after {gone / 60:.0f} min{remaining}  {self.note}", file=sys.stderr, flush=True)
        self.told, self.pause = now, min(2 * self.pause, LINE_SECONDS)

    def __enter__(self) -> Progress:
        if self.live:
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live:
            self.bar.stop()
        elif kind is None and not self.watched and processes.is_first():
            seconds = time.perf_counter() - self.started
            print(f"{self.title:<28} {seconds:7.1f} s  {self.note}", file=sys.stderr, flush=True)
