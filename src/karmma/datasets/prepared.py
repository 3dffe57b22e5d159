"""A prepared set (`karmma prepare`) as a data set: segments that lie in shards."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic.dataclasses import dataclass

from ..config import STRICT
from ..data.manifest import Manifest, Segment
from ..files import read_json
from ..media.members import TarMember
from ..types import KarmmaError, LabelSpace

FROM_SUFFIX = {"mp4": "rgb", "flow.npz": "flow", "flac": "audio"}


@dataclass(frozen=True, config=STRICT)
class PreparedConfig:
    """Nothing to choose: the set carries its own settings."""


def load_prepared(root: Path, settings: PreparedConfig) -> Manifest:
    """The manifest of a finished prepared set on a local disk. Raises KarmmaError for an unfinished or foreign directory."""
    note, index = root / "prepared.json", root / "index.parquet"
    if not note.is_file() or not index.is_file():
        raise KarmmaError(f"{root} holds no finished prepared set (no index.parquet); write one with `karmma prepare`")
    content = read_json(note)
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise KarmmaError("prepared sets need pyarrow: pip install 'karmma[data]'") from error
    splits: dict[str, list[Segment]] = {split: [] for split in content["segments"]}
    for row in pyarrow.parquet.read_table(index).to_pylist():
        splits[row["split"]].append(segment_of(root, row))
    labels = LabelSpace({head: tuple(names) for head, names in content["labels"].items()})
    tail = {head: frozenset(values) for head, values in content["tail"].items()}
    return Manifest(
        content["dataset"], labels, {split: tuple(rows) for split, rows in splits.items()}, tail,
        frozenset(content["unseen"]), {"prepared": content["settings"]},
    )  # fmt: skip


def segment_of(root: Path, row: dict[str, object]) -> Segment:
    """One row of the index."""
    sources = {}
    for suffix, (offset, size) in json.loads(str(row["members"])).items():
        if suffix != "json":
            name = FROM_SUFFIX.get(suffix, suffix.partition(".")[0])
            sources[name] = TarMember(root / str(row["shard"]), int(offset), int(size), suffix)
    return Segment(
        str(row["name"]), str(row["participant"]), float(str(row["start_seconds"])), float(str(row["stop_seconds"])),
        json.loads(str(row["labels"])), sources,
    )  # fmt: skip
