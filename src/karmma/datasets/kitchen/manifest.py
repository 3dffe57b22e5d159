"""Reads a simulated set back as a manifest."""

from __future__ import annotations

from pathlib import Path

from ...data.manifest import Manifest, Segment
from ...files import read_json
from ...types import KarmmaError, LabelSpace
from ..annotations import AnnotatedAction, read_actions, read_classes, read_column
from .knobs import KITCHEN_VERSION, SPLITS


def load_kitchen(root: Path) -> Manifest:
    """The manifest of a directory written by `simulate`. Raises KarmmaError if it is not one or is unfinished."""
    note = root / "kitchen.json"
    if not note.is_file():
        raise KarmmaError(f"{root} holds no finished simulated kitchen (no kitchen.json); write one with `karmma simulate`")
    settings = read_json(note)
    if settings["version"] != KITCHEN_VERSION:
        raise KarmmaError(f"{root} was simulated by kitchen version {settings['version']}, this is {KITCHEN_VERSION}")
    annotations = root / "annotations"
    verbs, nouns = (read_classes(annotations / f"KITCHEN_{kind}_classes.csv") for kind in ("verb", "noun"))
    splits = {}
    for split in SPLITS:
        if settings["participants"].get(split):
            rows = read_actions(annotations / f"KITCHEN_{split}.csv", len(verbs), len(nouns))
            splits[split] = tuple(segment_of(root, row) for row in rows)
    tail = {
        kind: frozenset(int(cell) for cell in read_column(annotations / f"KITCHEN_tail_{kind}s.csv", kind))
        for kind in ("verb", "noun")
    }
    unseen = frozenset(read_column(annotations / "KITCHEN_unseen_participant_ids.csv", "participant_id"))
    return Manifest("kitchen", LabelSpace({"verb": verbs, "noun": nouns}), splits, tail, unseen, settings)


def segment_of(root: Path, row: AnnotatedAction) -> Segment:
    video = root / "videos" / row.participant_id / f"{row.video_id}.MP4"
    if not video.is_file():
        raise KarmmaError(f"{video}: named in the annotations ({row.narration_id}) but not there")
    boxes = root / "boxes" / row.participant_id / f"{row.video_id}.csv"
    imu = root / "imu" / row.participant_id / f"{row.video_id}.csv"
    depth = root / "truth" / row.participant_id / f"{row.video_id}.npz"
    hands = root / "hands" / row.participant_id / f"{row.video_id}.npz"
    sources = {"rgb": video, "flow": video, "audio": video, "detections": boxes, "imu": imu, "depth": depth}
    sources |= {"hands": hands} if hands.is_file() else {}
    labels = {"verb": row.verb_class, "noun": row.noun_class}
    return Segment(row.narration_id, row.participant_id, row.start_seconds, row.stop_seconds, labels, sources)
