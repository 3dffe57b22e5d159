"""Several processes on one or more nodes, as `torchrun` starts them; alone, everything here does nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed


def rank() -> int:
    """Number of this process among all."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that writes and talks."""
    return rank() == 0


def local_rank() -> int:
    """Number of this process on its node: the GPU it uses."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def per_node() -> int:
    """Processes on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def wait() -> None:
    """Go on only when every process is here."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes and part from them at the end: NCCL between GPUs, gloo between CPUs."""
    if count() == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
