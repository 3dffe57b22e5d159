"""What a step needs and cannot change, made one batch ahead in a thread of its own: clips and a frozen teacher's answers.

On a CPU small layers gain about a quarter from a second thread; student and teacher beside each other gain more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .. import processes
from ..data.loading import EpochLoader, TrainingBatch

Prepare = Callable[[TrainingBatch], TrainingBatch]
Place = tuple[int, int]  # epoch and batch


def threads_to_spare(loader: EpochLoader) -> int:
    """Half of this process's threads; none on a GPU, in several processes and beside decoding workers, who share the work already."""
    shared = torch.cuda.is_available() or processes.count() > 1 or loader.store.streams
    return 0 if shared else torch.get_num_threads() // 2


@contextmanager
def leaving_threads(count: int) -> Iterator[None]:
    """Do with so many threads less."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads - count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class WorkingAhead:
    """Stored epochs whose batches go through `prepare` on other threads: the next one while the last is trained on, and the first
    of an epoch while the one before is closed.

    `prepare` must not draw random numbers from torch's global generator, which belongs to the step.
    """

    def __init__(self, make_loader: Callable[[int], EpochLoader], prepare: Prepare, threads: int, epochs: int) -> None:
        self.make_loader, self.prepare, self.epochs = make_loader, prepare, epochs
        self.pool = ThreadPoolExecutor(1, "ahead", torch.set_num_threads, (threads,))
        self.begun: tuple[Place, Future[TrainingBatch]] | None = None

    def __enter__(self) -> WorkingAhead:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def epoch(self, number: int) -> PreparedEpoch:
        """The batches of an epoch."""
        return PreparedEpoch(self, number, self.make_loader(number))

    def begin(self, loader: EpochLoader, place: Place) -> Future[TrainingBatch]:
        """Make a batch, on another thread."""
        made = self.pool.submit(lambda: self.prepare(loader.make(place[1])))
        self.begun = place, made
        return made

    def take(self, loader: EpochLoader, place: Place) -> TrainingBatch:
        """A batch of an epoch, once it is made; the next one is begun."""
        made = self.begun[1] if self.begun and self.begun[0] == place else self.begin(loader, place)
        batch = made.result()
        epoch, number = place
        if number + 1 < len(loader):
            self.begin(loader, (epoch, number + 1))
        elif epoch + 1 < self.epochs:
            self.begin(self.make_loader(epoch + 1), (epoch + 1, 0))
        return batch


@dataclass(frozen=True)
class PreparedEpoch:
    """One epoch of what is made ahead."""

    ahead: WorkingAhead
    number: int
    loader: EpochLoader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[TrainingBatch]:
        for number in range(len(self.loader)):
            yield self.ahead.take(self.loader, (self.number, number))
