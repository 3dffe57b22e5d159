"""Stages that do not need each other run side by side: on a CPU two processes of one thread do more than one of two."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, parent_process
from pathlib import Path
from threading import Thread

import torch

from .. import processes
from ..config import Recipe
from ..data.clips import ClipStore
from ..memory import keep_freed_memory
from ..progress import Reports, bars_of_workers, report_to
from ..types import KarmmaError
from ..workers import count_workers, use_threads, worker_pool
from .context import Context
from .jobs import Job, Work


def run_jobs(context: Context, jobs: Sequence[Job], stores: Mapping[str, ClipStore]) -> None:
    """Do what is not there yet, earlier jobs first, each after those that it needs."""
    waiting = [job for job in jobs if not context.book.is_done(job.stage, job.settings)]
    count = count_at_once(context, stores["train"], len(waiting))
    while able := ready(waiting, waiting):
        if min(count, len(able)) > 1:
            waiting = run_side_by_side(context, waiting, count)
        else:
            able[0].work(context, stores)
            waiting.remove(able[0])


def ready(waiting: Sequence[Job], unfinished: Collection[Job]) -> list[Job]:
    """Jobs that need nothing unfinished."""
    stages = {job.stage for job in unfinished}
    return [job for job in waiting if not job.needs & stages]


def count_at_once(context: Context, store: ClipStore, jobs: int) -> int:
    """How many jobs run side by side: one where a GPU, several processes or loading workers share the work already."""
    if torch.cuda.is_available() or processes.count() > 1 or store.streams:
        return 1
    return count_workers(context.recipe.trainings_at_once or torch.get_num_threads(), jobs)


def run_side_by_side(context: Context, jobs: Sequence[Job], count: int) -> list[Job]:
    """Work in `count` processes until one job would be alone, which goes faster here with all threads; gives back what is left.

    An error ends all of them; what is done is kept, and what is not goes on the next time. Raises KarmmaError for a
    process that was killed, as a system out of memory does.
    """
    threads = max(torch.get_num_threads() // count, 1)
    waiting, running = list(jobs), dict[Future[None], Job]()
    with bars_of_workers() as reports, worker_pool(count, begin_trainer, threads, reports) as pool:
        try:
            while running or len(ready(waiting, waiting)) > 1:
                for job in ready(waiting, [*waiting, *running.values()])[: count - len(running)]:
                    waiting.remove(job)
                    running[pool.submit(run_alone, context.recipe, context.directory, job.work)] = job
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    done.result()
                    del running[done]
        except BaseException as error:
            for child in active_children():
                child.kill()  # one that only hears it should end may wait for ever for a lock that another has died with
            if isinstance(error, BrokenProcessPool):
                raise KarmmaError(
                    f"{context.directory}: a training was killed while {count} ran side by side, for want of memory? "
                    "The same command goes on where it was; with trainings_at_once=1 it needs less memory"
                ) from error
            raise
    return waiting


def begin_trainer(threads: int, reports: Reports | None) -> None:
    """What a process that trains does first."""
    Thread(target=end_with_parent, daemon=True).start()
    keep_freed_memory()
    use_threads(threads)
    report_to(reports)


def end_with_parent() -> None:
    """A run that was killed leaves nobody behind who would write beside its next start."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run_alone(recipe: Recipe, directory: Path, work: Work) -> None:
    """Do a job in a process of its own."""
    context = Context(recipe, directory)
    work(context, {split: context.clips_of(split) for split in context.splits})
