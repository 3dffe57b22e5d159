"""Something-Something V2: the official JSON files and webm videos, boxes converted by `karmma convert ssv2-boxes`.

Layout below the root: `labels/{train,validation,test}.json`, `labels/labels.json`, `videos/<id>.webm`,
`boxes/<id>.csv`; `annotations` may name another directory for the JSON files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from ..config import STRICT
from ..data.manifest import Manifest, Segment
from ..files import read_json, read_json_as
from ..types import KarmmaError, LabelSpace

SPLITS = ("train", "validation")  # the official test set has no labels
CLASSES = 174
VIDEO_FOLDERS = ("videos", "20bn-something-something-v2", "")


@dataclass(frozen=True, config=STRICT)
class Ssv2Config:
    """`annotations`: directory of the JSON files; null is `labels` below the root."""

    annotations: str | None = None


def load_ssv2(root: Path, settings: Ssv2Config) -> Manifest:
    """The manifest of the videos that are there. Raises KarmmaError for bad annotations or no video at all."""
    annotations = Path(settings.annotations) if settings.annotations else root / "labels"
    classes = read_classes(find_json(annotations, "labels"))
    folder = next((root / name for name in VIDEO_FOLDERS if any((root / name).glob("*.webm"))), None)
    if folder is None:
        raise KarmmaError(f"{root}: no .webm file in any of {', '.join(name or 'the root' for name in VIDEO_FOLDERS)}")
    splits, missing = {}, {}
    for split in SPLITS:
        path = find_json(annotations, split)
        rows = [row_of(path, number, row, classes) for number, row in enumerate(read_json_as(path, list))]
        there = [(name, label) for name, label in rows if (folder / f"{name}.webm").is_file()]
        splits[split] = tuple(segment_of(root, folder, name, label) for name, label in there)
        missing[split] = len(rows) - len(there)
    names = sorted(classes, key=lambda name: classes[name])
    return Manifest("ssv2", LabelSpace({"action": tuple(names)}), splits, provenance={"videos_missing": missing})


def find_json(annotations: Path, what: str) -> Path:
    """`train.json` or, as first released, `something-something-v2-train.json`."""
    for path in (annotations / f"{what}.json", annotations / f"something-something-v2-{what}.json"):
        if path.is_file():
            return path
    raise KarmmaError(f"annotation file not found: {annotations / what}.json (nor something-something-v2-{what}.json)")


def read_classes(path: Path) -> dict[str, int]:
    """Class index by template, e.g. `Putting something on a surface` → 112."""
    content = read_json(path)
    if not content:
        raise KarmmaError(f"{path}: names no class")
    classes = {str(name): int(index) for name, index in content.items() if str(index).isdecimal()}
    if sorted(classes.values()) != list(range(len(content))):
        raise KarmmaError(f"{path}: classes are not numbered 0 to {len(content) - 1}, each once")
    return classes


def row_of(path: Path, number: int, row: Any, classes: Mapping[str, int]) -> tuple[str, int]:
    """Name and class of a video; the template's brackets are dropped as in the label file."""
    if not isinstance(row, dict) or "id" not in row or "template" not in row:
        raise KarmmaError(f"{path}: entry {number}: expected the keys id and template")
    template = str(row["template"]).replace("[", "").replace("]", "")
    if template not in classes:
        raise KarmmaError(f"{path}: entry {number} (video {row['id']}): unknown class {template!r}")
    return str(row["id"]), classes[template]


def segment_of(root: Path, folder: Path, name: str, label: int) -> Segment:
    """The whole video as a segment."""
    video = folder / f"{name}.webm"
    sources = {"rgb": video, "flow": video, "audio": video, "detections": root / "boxes" / f"{name}.csv"}
    return Segment(name, "", 0.0, math.inf, {"action": label}, sources)
