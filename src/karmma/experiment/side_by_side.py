"""Trainings that do not need each other run side by side: on a CPU two processes of one thread do more than one of two."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, parent_process
from pathlib import Path
from threading import Thread

import torch

from .. import processes
from ..config import MethodConfig, Recipe, method_references
from ..data.clips import ClipStore
from ..data.tokens import TokenStore
from ..memory import keep_freed_memory
from ..progress import Reports, bars_of_workers, report_to
from ..types import KarmmaError
from ..workers import count_workers, use_threads, worker_pool
from .arms import Training, arm_settings, train, trainings_of
from .context import Context
from .pretraining import token_directory


def train_methods(context: Context, seed: int, store: ClipStore, tokens: TokenStore | None) -> None:
    """Every model of every method that is not there yet, those first that others are built on."""
    for names in rounds(context.recipe.methods):
        trainings = [training for name in names for training in trainings_of(context, name, seed)]
        missing = [one for one in trainings if not context.book.is_done(one.stage, arm_settings(context, one.method))]
        count = count_at_once(context, store, len(missing))
        if count > 1:
            train_side_by_side(context, longest_first(context, missing), count)
        else:
            for training in missing:
                train(context, training, store, tokens)


def rounds(methods: Mapping[str, MethodConfig]) -> list[list[str]]:
    """Names of methods, each in the first round in which all that it builds on is done."""
    found: dict[str, int] = {}
    for name, method in methods.items():
        found[name] = max((found[other] + 1 for _, other in method_references(method)), default=0)
    return [[name for name in methods if found[name] == number] for number in range(max(found.values(), default=-1) + 1)]


def count_at_once(context: Context, store: ClipStore, trainings: int) -> int:
    """How many trainings run side by side: one where a GPU, several processes or loading workers share the work already."""
    if torch.cuda.is_available() or processes.count() > 1 or store.streams:
        return 1
    return count_workers(context.recipe.trainings_at_once or torch.get_num_threads(), trainings)


def longest_first(context: Context, trainings: Sequence[Training]) -> list[Training]:
    """Students before specialists, those that are taught before others, large subsets before small ones."""

    def weight(training: Training) -> tuple[bool, int]:
        size = len(training.subset or context.names)
        return context.recipe.methods[training.method].distillation is not None, size

    return sorted(trainings, key=weight, reverse=True)


def train_side_by_side(context: Context, trainings: Sequence[Training], count: int) -> None:
    """Train in `count` processes. An error ends all of them; what is done is kept, and what is not goes on the next time.

    Raises KarmmaError for a process that was killed, as a system out of memory does.
    """
    threads = max(torch.get_num_threads() // count, 1)
    with bars_of_workers() as reports, worker_pool(count, begin_trainer, threads, reports) as pool:
        try:
            jobs = [pool.submit(train_alone, context.recipe, context.directory, training) for training in trainings]
            for job in as_completed(jobs):
                job.result()
        except BaseException as error:
            for child in active_children():
                child.terminate()
            if isinstance(error, BrokenProcessPool):
                raise KarmmaError(
                    f"{context.directory}: a training was killed while {count} ran side by side, for want of memory? "
                    "The same command goes on where it was; with trainings_at_once=1 it needs less memory"
                ) from error
            raise


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


def train_alone(recipe: Recipe, directory: Path, training: Training) -> None:
    """Train one model in a process of its own."""
    context = Context(recipe, directory)
    tokens = TokenStore(token_directory(context)) if recipe.train_teacher else None
    train(context, training, context.clips_of("train"), tokens)
