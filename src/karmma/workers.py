"""Worker processes: one thread each, unless told otherwise, started fresh so that no library's threads are inherited."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


def count_workers(workers: int, jobs: int) -> int:
    """`workers`, or one per core for 0; never more than there are jobs."""
    return max(min(workers or os.cpu_count() or 1, jobs), 1)


def use_one_thread() -> None:
    """Keep this process to one thread: two on busy cores are many times slower than one."""
    use_threads(1)


def use_threads(count: int) -> None:
    """Keep this process to some threads."""
    import cv2
    import torch

    cv2.setNumThreads(count)
    torch.set_num_threads(count)


def worker_pool(workers: int, begin: Callable[..., None] = use_one_thread, *given: Any) -> ProcessPoolExecutor:
    """A pool of spawned processes, each of which does `begin(*given)` first."""
    return ProcessPoolExecutor(workers, get_context("spawn"), begin, given)
