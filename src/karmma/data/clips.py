"""Segment → clip → batch: reading segments once into a store of compact arrays, and batches from it."""

from __future__ import annotations

import csv
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from ..augmentation import Augmentation
from ..files import read_json, replacing, write_json
from ..modalities import Modality
from ..trees import flatten, plain
from ..types import Batch, KarmmaError
from ..workers import count_workers, worker_pool
from .manifest import Segment
from .missing import KeepSome, split_presence
from .reading import read_segment

READ, FAILED = 1, 2
FINGERPRINTS = "segments.npy"


class ClipStore:
    """Stored clips of one split in a directory: one memory-mapped array per modality, and who has what.

    Writing is resumable: a segment counts once its state byte is set, after its arrays.
    """

    streams = False  # whether batches are decoded when they are asked for

    def __init__(
        self,
        directory: Path,
        segments: Sequence[Segment],
        modalities: Mapping[str, Modality],
        keep_modalities: int | None = None,
    ) -> None:
        self.directory, self.segments, self.modalities = directory, tuple(segments), dict(modalities)
        self.keep_modalities = keep_modalities

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.modalities)

    def __len__(self) -> int:
        return len(self.segments)

    def write(self, workers: int = 0, on_done: Callable[[int, int], None] | None = None) -> None:
        """Read all segments that are not yet stored. `workers` 0 takes one process per core."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.allocate()
        state = open_memmap(self.directory / "state.npy", mode="r+")
        open_indices = np.flatnonzero(state[:, -1] == 0).tolist()
        jobs = [open_indices[first : first + 8] for first in range(0, len(open_indices), 8)]
        done = len(self.segments) - len(open_indices)
        arguments = [(self.directory, [(i, self.segments[i]) for i in job], self.modalities) for job in jobs]
        workers = count_workers(workers, len(jobs))
        if workers == 1:
            results = map(store_segments, arguments)
            self.follow(results, done, on_done)
        else:
            with worker_pool(workers) as pool:
                self.follow(pool.map(store_segments, arguments), done, on_done)

    def follow(self, results: Any, done: int, on_done: Callable[[int, int], None] | None) -> None:
        for count in results:
            done += count
            if on_done:
                on_done(done, len(self.segments))

    def allocate(self) -> None:
        """Create the arrays from the first readable example of each modality."""
        if (self.directory / "index.json").exists():
            self.require_same_segments()
            self.require_same_modalities()
            return
        shapes: dict[str, tuple[list[int], str]] = {}
        for segment in self.segments:
            missing = {name: modality for name, modality in self.modalities.items() if name not in shapes}
            if not missing:
                break
            for name, array in read_segment(segment, missing).arrays.items():
                shapes[name] = (list(array.shape), str(array.dtype))
        for name, (shape, dtype) in shapes.items():
            open_memmap(self.directory / f"{name}.npy", mode="w+", dtype=dtype, shape=(len(self.segments), *shape))
        open_memmap(
            self.directory / "state.npy", mode="w+", dtype=np.uint8, shape=(len(self.segments), len(self.modalities) + 1)
        )
        self.note_segments()
        index = {
            "segments": len(self.segments), "modalities": list(self.modalities), "stored": sorted(shapes),
            "settings": plain(self.modalities),
        }  # fmt: skip
        write_json(self.directory / "index.json", index)

    @cached_property
    def fingerprints(self) -> NDArray[np.uint64]:
        return np.array([segment.fingerprint for segment in self.segments], np.uint64)

    def require_same_modalities(self) -> None:
        """Raise KarmmaError if what is stored was read with other settings, e.g. for another checkpoint."""
        index, words = read_json(self.directory / "index.json"), ""
        before, now = flatten(index.get("settings", {})), flatten(plain(self.modalities))
        if index["modalities"] != list(self.modalities):
            words = f"holds {', '.join(index['modalities'])}, wanted are {', '.join(self.modalities)}"
        for key in sorted({*before} & {*now}):
            if before[key] != now[key]:
                words = words or f"was read with modalities.{key} = {before[key]!r}, now {now[key]!r}"
        if words:
            raise KarmmaError(f"{self.directory}: {words}: choose another --out (or --cache)")

    def note_segments(self) -> None:
        with replacing(self.directory / FINGERPRINTS) as temporary, temporary.open("wb") as file:
            np.save(file, self.fingerprints)

    def require_same_segments(self) -> None:
        """Raise KarmmaError if what is stored is of other segments: of a table that somebody has changed since."""
        path = self.directory / FINGERPRINTS
        if not path.exists():  # of a store that did not note them yet
            return
        before, now = np.load(path), self.fingerprints
        both = min(len(before), len(now))
        same = int(np.argmin(np.append(before[:both] == now[:both], False)))
        if same < max(len(before), len(now)):
            first = self.segments[same].name if same < len(now) else "none"
            raise KarmmaError(
                f"{self.directory}: is of {len(before)} segments as they were when they were read; now there are {len(now)}, and the "
                f"first that is another is {first}: choose another --out (or --cache)"
            )

    @cached_property
    def state(self) -> NDArray[np.uint8]:
        self.require_same_segments()
        state = np.load(self.directory / "state.npy")
        if (state[:, -1] == 0).any():
            raise KarmmaError(f"{self.directory}: {int((state[:, -1] == 0).sum())} segments are not yet read")
        return state

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        paths = {name: self.directory / f"{name}.npy" for name in self.modalities}
        return {name: np.load(path, mmap_mode="r") for name, path in paths.items() if path.exists()}

    @cached_property
    def available(self) -> Tensor:
        """`(segments, modalities)` bool; under protocol P5 `keep_modalities` random ones of each segment."""
        available = torch.from_numpy(self.state[:, :-1] == READ)
        if self.keep_modalities is None:
            return available
        return KeepSome(self.keep_modalities).presence(available, self.names, torch.Generator().manual_seed(0))

    @property
    def counts(self) -> dict[str, int]:
        """By modality, how many segments have it."""
        return dict(zip(self.names, self.available.sum(0).tolist(), strict=True))

    @cached_property
    def usable(self) -> NDArray[np.int64]:
        """Indices of segments that have at least one modality."""
        return np.flatnonzero(self.available.any(1).numpy())

    @cached_property
    def labels(self) -> dict[str, Tensor]:
        heads = self.segments[0].labels
        return {head: torch.tensor([segment.labels[head] for segment in self.segments]) for head in heads}

    def failures(self) -> list[list[str]]:
        """Rows (segment, modality, message) of what could not be read."""
        rows = []
        for path in sorted(self.directory.glob("failed-*.csv")):
            with path.open(newline="") as file:
                rows += list(csv.reader(file))
        return rows

    def batch(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        augmentation: Augmentation | None,
        names: Sequence[str] | None = None,
        needed: Mapping[str, Tensor] | None = None,
    ) -> Batch:
        """Model inputs of the given segments, of all modalities or the named ones that any of them has; presence is what is available.

        With `needed` (`(samples,)` flags by modality) nothing else is made, and what is not made counts as absent.
        """
        index = np.asarray(indices)
        bare = self.bare_batch(index)
        present = dict(bare.present)
        data = {}
        for name, array in self.arrays.items():
            if names is not None and name not in names:
                continue
            if needed is not None:
                present[name] = present[name] & needed[name]
            if present[name].any():
                stored = torch.from_numpy(array[index[present[name].numpy()]])
                data[name] = transform_some(self.modalities[name], name, stored, present[name], augmentation)
        return Batch(data, present, bare.labels)

    def stored_batch(self, rows: NDArray[np.int64]) -> dict[str, tuple[NDArray[np.int64], Tensor]]:
        """By modality, which of some segments have it (places within `rows`) and their stored form `(having, …)`."""
        result = {}
        for column, name in enumerate(self.names):
            places = np.flatnonzero(self.available[rows, column].numpy())
            if len(places) and name in self.arrays:
                result[name] = places, torch.from_numpy(self.arrays[name][rows[places]])
        return result

    def bare_batch(self, indices: NDArray[np.int64]) -> Batch:
        """Presence and labels alone, for training on cached tokens."""
        present = split_presence(self.available[indices], self.names)
        return Batch({}, present, {head: values[indices] for head, values in self.labels.items()})


def transform(modality: Modality, name: str, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
    """Model inputs out of stored clips; a modality's draws do not depend on what else is read."""
    return modality.transform(stored, augmentation and augmentation.of(name))


def transform_some(
    modality: Modality, name: str, stored: Tensor, flags: Tensor, augmentation: Augmentation | None
) -> Tensor:
    """Model inputs of the marked samples of a batch, whose stored clips are `(marked, …)`; zeros for the others."""
    if flags.all():
        return transform(modality, name, stored, augmentation)
    places = flags.nonzero().flatten()
    made = transform(modality, name, stored, augmentation and augmentation.select(places))
    values = made.new_zeros(len(flags), *made.shape[1:])
    values[places] = made
    return values


def store_segments(job: tuple[Path, list[tuple[int, Segment]], dict[str, Modality]]) -> int:
    """Read some segments into the arrays; runs in a worker process. Returns how many."""
    directory, segments, modalities = job
    arrays = {name: open_memmap(path, mode="r+") for name in modalities if (path := directory / f"{name}.npy").exists()}
    state = open_memmap(directory / "state.npy", mode="r+")
    for index, segment in segments:
        try:
            reading = read_segment(segment, modalities)
        except Exception as error:
            raise KarmmaError(
                f"reading segment {segment.name} failed: {traceback.format_exception_only(error)[-1].strip()}"
            ) from error
        failures = reading.failures | other_shapes(reading.arrays, arrays)
        if failures:
            note_failures(directory, segment, failures)
        for column, name in enumerate(modalities):
            if name in failures:
                state[index, column] = FAILED
            elif name in reading.arrays:
                arrays[name][index] = reading.arrays[name]
                state[index, column] = READ
        state[index, -1] = READ
    return len(segments)


def other_shapes(read: Mapping[str, NDArray[Any]], stored: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """Words about the modalities whose clip has not the shape of the first one that was read."""
    return {
        name: f"{name}: a clip of shape {array.shape}, where the first one has {stored[name].shape[1:]}"
        for name, array in read.items() if array.shape != stored[name].shape[1:]
    }  # fmt: skip


def note_failures(directory: Path, segment: Segment, failures: dict[str, str]) -> None:
    with (directory / f"failed-{os.getpid()}.csv").open("a", newline="") as file:
        csv.writer(file).writerows([segment.name, name, words] for name, words in failures.items())
