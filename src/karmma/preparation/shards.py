"""Shards: WebDataset tars with an index. A shard is there whole, with its part of the index, or not at all."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec

from ..data.manifest import Segment
from ..types import KarmmaError
from .segments import PrepareConfig, prepare_segment

LONGEST = 60  # letters of a segment's name within a tar
INDEX, SETTINGS, FAILED = "index.parquet", "prepared.json", "failed.csv"


@dataclass(frozen=True)
class ShardJob:
    """One shard to write: which segments, where to."""

    number: int
    split: str
    segments: tuple[Segment, ...]
    out: str
    config: PrepareConfig
    deadly: tuple[str, ...] = ()  # segments whose reading has killed a process: they are left out and named

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:06d}"


@dataclass(frozen=True)
class Store:
    """A directory on any file system that fsspec knows: local, s3://, gs://, memory://."""

    files: Any
    root: str

    @staticmethod
    def open(out: str) -> Store:
        files, root = fsspec.core.url_to_fs(out)
        return Store(files, root.rstrip("/"))

    def path(self, name: str) -> str:
        return str(PurePosixPath(self.root) / name)

    def exists(self, name: str) -> bool:
        return bool(self.files.exists(self.path(name)))

    def read(self, name: str) -> bytes:
        return bytes(self.files.cat_file(self.path(name)))

    def write(self, name: str, content: bytes) -> None:
        """Under a temporary name first, then renamed: nobody ever sees half a file."""
        self.files.makedirs(str(PurePosixPath(self.path(name)).parent), exist_ok=True)
        temporary = self.path(f".{name.replace('/', '.')}.{os.getpid()}.tmp")
        try:
            self.files.pipe_file(temporary, content)
            self.files.mv(temporary, self.path(name))
        except OSError as error:
            if self.files.exists(temporary):
                self.files.rm(temporary)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise KarmmaError(f"{self.root}: no space left; free some and run the same command again") from error
            raise KarmmaError(f"{self.path(name)}: cannot be written: {error}") from error


def write_shard(job: ShardJob) -> dict[str, Any]:
    """Prepare a shard's segments and write `<name>.tar`, then `<name>.json` with its rows: that makes it valid.

    Returns the content of the JSON. A shard that is already there is not made again.
    """
    store = Store.open(job.out)
    note = f"shards/{job.name}.json"
    if store.exists(note):
        return dict(json.loads(store.read(note)))
    buffer, rows, failures = io.BytesIO(), [], []
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for segment in job.segments:
            if segment.name in job.deadly:
                failures.append([segment.name, job.split, "+".join(segment.sources), "the process that read it died"])
                continue
            made = prepare_segment(segment, job.split, job.config)
            failures += [[segment.name, job.split, name, words] for name, words in made.failures.items()]
            if not made.files:
                continue
            key = tar_key(segment.name)
            members = {}
            for suffix, content in {**made.files, "json": json.dumps(made.row).encode()}.items():
                entry = tarfile.TarInfo(f"{key}.{suffix}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
                members[suffix] = [buffer.tell() - entry.size - (-entry.size % 512), entry.size]
            digest = hashlib.sha256(b"".join(made.files.values())).hexdigest()
            rows.append({**made.row, "key": key, "shard": f"shards/{job.name}.tar", "members": json.dumps(members), "sha256": digest})
    store.write(f"shards/{job.name}.tar", buffer.getvalue())
    result = {"rows": rows, "failures": failures, "segments": len(job.segments)}
    store.write(note, json.dumps(result).encode())
    return result


def tar_key(name: str) -> str:
    """A name without dots and slashes, as WebDataset wants it; unlike names stay unlike."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:LONGEST]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def make_jobs(splits: dict[str, Sequence[Segment]], out: str, config: PrepareConfig) -> list[ShardJob]:
    """Every segment belongs to exactly one shard, by its place in the manifest alone."""
    size = config.segments_per_shard
    return [
        ShardJob(number, split, tuple(segments[first : first + size]), out, config)
        for split, segments in splits.items()
        for number, first in enumerate(range(0, len(segments), size))
    ]


def write_index(store: Store, jobs: Sequence[ShardJob]) -> tuple[int, list[list[str]]]:
    """Gather all shards into `index.parquet` and `failed.csv`; returns the rows' number and the failures."""
    import pyarrow
    import pyarrow.parquet

    rows, failures = [], []
    for content in read_notes(store, jobs):
        rows += content["rows"]
        failures += content["failures"]
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    store.write(INDEX, buffer.getvalue())
    text = io.StringIO()
    csv.writer(text).writerows([["segment", "split", "modality", "error"], *failures])
    store.write(FAILED, text.getvalue().encode())
    return len(rows), failures


def read_notes(store: Store, jobs: Sequence[ShardJob]) -> Iterator[dict[str, Any]]:
    for job in jobs:
        yield json.loads(store.read(f"shards/{job.name}.json"))
