"""Clips that are decoded when a batch needs them, in worker processes: memory does not grow with the set."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..augmentation import Augmentation
from ..modalities import Modality
from ..types import Batch
from ..workers import use_one_thread
from .clips import ClipStore, note_failures, transform_some
from .manifest import Segment, source_path
from .reading import SegmentReading, read_segment

STUCK_SECONDS = 120  # longer than that on one segment, and it is given up and named


class StuckError(Exception):
    """Raised by the alarm in a worker that has been busy with one segment for too long."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise StuckError in the body after some seconds; only a process's main thread can set the alarm."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise StuckError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def read_in_time(segment: Segment, modalities: Any, seconds: float = STUCK_SECONDS) -> SegmentReading:
    """Read a segment; one that takes too long is a failure that names its files."""
    try:
        with time_limit(seconds):
            return read_segment(segment, modalities)
    except StuckError:
        files = ", ".join(str(source) for source in {source_path(s) for s in segment.sources.values()})
        return SegmentReading({}, dict.fromkeys(segment.sources, f"{files}: reading took longer than {seconds:g} s"))


class StreamStore(ClipStore):
    """A split whose clips are never stored. Whether a modality is there is decided by its source, and again on reading."""

    streams = True

    def write(self, workers: int = 0, on_done: Any = None) -> None:
        """Nothing to write but the place for notes about failures, and of which segments they are."""
        if self.directory.exists():
            self.require_same_segments()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.note_segments()

    @property
    def state(self) -> NDArray[np.uint8]:
        """1 where a source is there; the last column is 1 throughout."""
        self.require_same_segments()
        flags = [[is_there(segment, name) for name in self.names] + [True] for segment in self.segments]
        return np.array(flags, np.uint8).reshape(len(self.segments), len(self.names) + 1)

    def batch(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        augmentation: Augmentation | None,
        names: Sequence[str] | None = None,
        needed: Mapping[str, Tensor] | None = None,
    ) -> Batch:
        """Decode the given segments now, all modalities or the named ones. What cannot be read is noted and absent.

        With `needed` nothing else is decoded, and what is not counts as absent.
        """
        index = np.asarray(indices)
        wanted = [name for name in self.names if names is None or name in names]
        bare = self.bare_batch(index)
        data, present = {}, dict(bare.present)
        if needed is not None:
            present |= {name: present[name] & needed[name] for name in wanted}
        readings = self.readings({name: index[present[name].numpy()] for name in wanted})
        for name in wanted:
            arrays = [
                readings[row].arrays.get(name) if flag else None
                for row, flag in zip(index.tolist(), present[name].tolist(), strict=True)
            ]
            present[name] = torch.tensor([array is not None for array in arrays])
            there = [array for array in arrays if array is not None]
            if there:
                stored = torch.from_numpy(np.stack(there))
                data[name] = transform_some(self.modalities[name], name, stored, present[name], augmentation)
        return Batch(data, present, bare.labels)

    def readings(self, asked: Mapping[str, NDArray[np.int64]]) -> dict[int, SegmentReading]:
        """Every segment that a modality is asked of, decoded once, with what is asked of it."""
        wanted: dict[int, dict[str, Modality]] = {}
        for name, rows in asked.items():
            for row in rows.tolist():
                wanted.setdefault(row, {})[name] = self.modalities[name]
        return {row: self.reading(row, some) for row, some in wanted.items()}

    def reading(self, index: int, modalities: Mapping[str, Modality]) -> SegmentReading:
        reading = read_in_time(self.segments[index], modalities)
        if reading.failures:
            note_failures(self.directory, self.segments[index], reading.failures)
        return reading

    def stored_batch(self, rows: NDArray[np.int64]) -> dict[str, tuple[NDArray[np.int64], Tensor]]:
        """Decode some segments now: by modality, places of those that have it and their stored form."""
        readings = [self.reading(int(row), self.modalities) for row in rows]
        result = {}
        for column, name in enumerate(self.names):
            wanted = self.available[rows, column].tolist()
            places = [place for place, reading in enumerate(readings) if wanted[place] and name in reading.arrays]
            if places:
                result[name] = np.array(places), torch.from_numpy(np.stack([readings[place].arrays[name] for place in places]))
        return result


def is_there(segment: Segment, name: str) -> bool:
    source = segment.sources.get(name)
    return source is not None and (not isinstance(source, Path) or source.is_file())


class NumberedWork(Dataset[Any]):
    """Pieces of work by number, for PyTorch's DataLoader: its workers do them, it hands results out in order."""

    def __init__(self, work: Callable[[Any], Any], pieces: Sequence[Any]) -> None:
        self.work, self.pieces = work, pieces

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, number: int) -> Any:
        return self.work(self.pieces[number])


def in_order(work: Callable[[Any], Any], pieces: Sequence[Any], workers: int) -> Iterator[Any]:
    """`work(piece)` for every piece, by so many processes of one thread each (0: this one), in the order of the pieces."""
    yield from DataLoader(
        NumberedWork(work, pieces), batch_size=None, num_workers=workers, worker_init_fn=start_worker,
        collate_fn=unchanged, multiprocessing_context="spawn" if workers else None,  # a fork would inherit locked libraries
    )  # fmt: skip


def start_worker(number: int) -> None:
    """A decoding worker is one thread."""
    use_one_thread()


def unchanged(result: Any) -> Any:
    """Keeps the loader from turning arrays into tensors."""
    return result
