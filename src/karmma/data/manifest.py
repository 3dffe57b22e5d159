"""Manifests: every labelled segment of a data set, where its modalities lie and from which second to which."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..media.members import TarMember
from ..media.pictures import PictureSequence
from ..types import KarmmaError, LabelSpace

Source = Path | PictureSequence | TarMember


@dataclass(frozen=True)
class Segment:
    """A labelled stretch of a recording. `sources`: for each modality it may have a file, or numbered pictures.

    A `stop_seconds` of infinity is the end of the file, wherever that is. `ahead_seconds`: by modality, how far its file's clock is
    ahead of the recording's, where it is.
    """

    name: str
    participant: str
    start_seconds: float
    stop_seconds: float
    labels: dict[str, int]
    sources: Mapping[str, Source]
    ahead_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def fingerprint(self) -> int:
        """Differs (64 bits) where name, times, labels, names of files or rates of pictures do, wherever the set lies."""
        files = {name: identity_of(source) for name, source in sorted(self.sources.items())}
        times = self.start_seconds, self.stop_seconds, *sorted(self.ahead_seconds.items())
        content = repr((self.name, *times, sorted(self.labels.items()), files))
        return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "little")


def source_path(source: Source) -> Path:
    """The file or folder that holds a source."""
    return source if isinstance(source, Path) else source.path


def identity_of(source: Source) -> object:
    """What tells a source from another of the same segment, wherever the set lies."""
    if isinstance(source, PictureSequence):
        elsewhere = (source.first_number,) if source.first_number != 1 else ()  # stores of older runs do not know of it
        return source.path.name, source.frames_hz, source.part, source.bound_pixels, source.motion_seconds, *elsewhere
    return source_path(source).name


@dataclass(frozen=True)
class Manifest:
    """A data set: label space, segments by split, tail classes per head, participants never trained on."""

    name: str
    labels: LabelSpace
    splits: Mapping[str, tuple[Segment, ...]]
    tail: Mapping[str, frozenset[int]] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()
    provenance: Mapping[str, object] = field(default_factory=dict)

    def split(self, name: str) -> tuple[Segment, ...]:
        """Segments of a split. Raises KarmmaError if there is no such split or it is empty."""
        if name not in self.splits:
            raise KarmmaError(f"{self.name}: no split {name!r}; there is: {', '.join(self.splits)}")
        if not self.splits[name]:
            raise KarmmaError(f"{self.name}: split {name!r} is empty")
        return self.splits[name]

    def labelled_split(self, name: str) -> tuple[Segment, ...]:
        """Segments of a split that can be learnt from or tested on. Raises KarmmaError where one lacks a label, as test sets may."""
        for segment in self.split(name):
            lacking = [head for head in self.labels.names if head not in segment.labels]
            if lacking:
                labelled = [split for split, rows in self.splits.items() if rows and rows[0].labels]
                raise KarmmaError(
                    f"{self.name}: split {name!r} cannot be learnt from or tested on: {segment.name} has no {' or '.join(lacking)}; "
                    f"with labels there is: {', '.join(labelled) or 'none'}"
                )
        return self.splits[name]
