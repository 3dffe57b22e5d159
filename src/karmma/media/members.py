"""A file inside a tar, without unpacking the tar."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .containers import MediaError, forget_containers
from .kept import forget_files

MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class TarMember:
    """`size` bytes from `offset` on of the tar at `path`; `suffix` says what they are, e.g. `mp4` or `flow.npz`."""

    path: Path
    offset: int
    size: int
    suffix: str

    def read(self) -> bytes:
        """Its bytes. Raises MediaError if the tar is not there or too short."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise MediaError(f"{self.path}: {error.strerror}") from error
        if len(content) != self.size:
            raise MediaError(f"{self.path}: breaks off within a {self.suffix} at byte {self.offset + len(content)}")
        return content

    @contextmanager
    def as_file(self) -> Iterator[Path]:
        """A file in memory (where the system offers that) for readers that want a path; gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="karmma-", dir=MEMORY if MEMORY.is_dir() else None) as directory:
            path = Path(directory) / f"member.{self.suffix}"
            path.write_bytes(self.read())
            try:
                yield path
            finally:
                forget_containers(path.parent)
                forget_files(path.parent)
