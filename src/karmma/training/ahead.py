"""What a step needs and cannot change, made one batch ahead in a thread of its own: clips and a frozen teacher's answers.

On a CPU small layers gain about a quarter from a second thread; student and teacher beside each other gain more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from .. import processes
from ..data.loading import EpochLoader, TrainingBatch

Prepare = Callable[[TrainingBatch], TrainingBatch]


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
    """A loader whose batches go through `prepare` on other threads, the next one while the last is trained on.

    `prepare` must not draw random numbers from torch's global generator, which belongs to the step.
    """

    def __init__(self, loader: EpochLoader, prepare: Prepare, threads: int) -> None:
        self.loader, self.prepare, self.threads = loader, prepare, threads

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[TrainingBatch]:
        batches = iter(self.loader)

        def make() -> TrainingBatch | None:
            batch = next(batches, None)
            return None if batch is None else self.prepare(batch)

        with ThreadPoolExecutor(1, "ahead", torch.set_num_threads, (self.threads,)) as pool:
            following = pool.submit(make)
            while (batch := following.result()) is not None:
                following = pool.submit(make)
                yield batch
