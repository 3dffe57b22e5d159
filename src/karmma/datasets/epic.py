"""EPIC-KITCHENS-100 (Damen et al., IJCV 2022): the official CSVs unchanged, videos in the layouts people have them in.

Only the videos that are there are used; how many are not is part of the manifest and of results.json.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from ..config import STRICT
from ..data.manifest import Manifest, Segment
from ..types import KarmmaError, LabelSpace
from .annotations import TimedAction, read_actions, read_classes, read_column, read_rulstm, read_timestamps

LABEL_SIZES = {"verb": 97, "noun": 300}
VIDEO_PLACES = ("{participant}/videos/{video}.MP4", "videos/{participant}/{video}.MP4", "{participant}/{video}.MP4",
                "videos/{video}.MP4", "{video}.MP4")  # fmt: skip
SOUND_PLACES = ("{participant}/audio/{video}.wav", "audio/{participant}/{video}.wav", "audio/{video}.wav")


@dataclass(frozen=True, config=STRICT)
class EpicConfig:
    """`annotations`: directory of the official CSVs; null is `annotations` below the root.

    `split` "official": train, validation, test (without labels). "star" (EPIC* of the paper): `star_share` of the training
    videos validate, the official validation set tests; which videos is decided by a hash of their names (not from the paper).
    `train_labels` "rulstm" reads the header-less `rulstm_training.csv` in place of EPIC_100_train.csv.
    """

    annotations: str | None = None
    split: Literal["official", "star"] = "official"
    star_share: float = 0.1
    train_labels: Literal["official", "rulstm"] = "official"


def load_epic(root: Path, settings: EpicConfig) -> Manifest:
    """The manifest of a directory with EPIC's videos. Raises KarmmaError for bad annotations or no video at all."""
    annotations = Path(settings.annotations) if settings.annotations else root / "annotations"
    verbs, nouns = (read_classes(annotations / f"EPIC_100_{head}_classes.csv") for head in LABEL_SIZES)
    labels = LabelSpace({"verb": verbs, "noun": nouns})
    if labels.sizes != LABEL_SIZES:
        raise KarmmaError(f"{annotations}: {len(verbs)} verbs and {len(nouns)} nouns, expected 97 and 300")
    actions = split_actions(annotations, settings)
    videos = {row.video_id: row for rows in actions.values() for row in rows}
    found = {video: find_sources(root, row) for video, row in videos.items()}
    there = {video for video, sources in found.items() if sources}
    if not there:
        raise KarmmaError(f"{root}: none of {len(found)} videos is there; looked for e.g. {VIDEO_PLACES[0]}")
    splits = {
        name: tuple(segment_of(row, found[row.video_id]) for row in rows if row.video_id in there)
        for name, rows in actions.items()
    }
    tail = {head: frozenset(map(int, read_column(annotations / f"EPIC_100_tail_{head}s.csv", head))) for head in LABEL_SIZES}
    unseen = frozenset(read_column(annotations / "EPIC_100_unseen_participant_ids_validation.csv", "participant_id"))
    dropped = {name: len(rows) - len(splits[name]) for name, rows in actions.items()}
    counts = {"videos": len(there), "videos_missing": len(found) - len(there), "segments_without_video": dropped}
    return Manifest("epic", labels, splits, tail, unseen, counts)


def split_actions(annotations: Path, settings: EpicConfig) -> dict[str, Sequence[TimedAction]]:
    """Rows by split."""
    sizes = tuple(LABEL_SIZES.values())
    if settings.train_labels == "rulstm":
        train = read_rulstm(annotations / "rulstm_training.csv", *sizes)
    else:
        train = read_actions(annotations / "EPIC_100_train.csv", *sizes)
    validation = read_actions(annotations / "EPIC_100_validation.csv", *sizes)
    if settings.split == "star":
        held_out = [row for row in train if is_held_out(row.video_id, settings.star_share)]
        kept = [row for row in train if not is_held_out(row.video_id, settings.star_share)]
        return {"train": kept, "validation": held_out, "test": validation}
    timestamps = annotations / "EPIC_100_test_timestamps.csv"
    test = {"test": read_timestamps(timestamps)} if timestamps.is_file() else {}
    return {"train": train, "validation": validation, **test}


def is_held_out(video: str, share: float) -> bool:
    return zlib.crc32(video.encode()) % 10_000 < share * 10_000


def find_sources(root: Path, row: TimedAction) -> dict[str, Path]:
    """Files of a video by modality; empty where neither video nor sound is there."""
    video = first_there(root, VIDEO_PLACES, row)
    sound = first_there(root, SOUND_PLACES, row) or video
    sources = {"rgb": video, "flow": video, "audio": sound}
    return {name: path for name, path in sources.items() if path is not None}


def first_there(root: Path, places: Sequence[str], row: TimedAction) -> Path | None:
    candidates = (root / place.format(participant=row.participant_id, video=row.video_id) for place in places)
    return next((path for path in candidates if path.is_file()), None)


def segment_of(row: TimedAction, sources: dict[str, Path]) -> Segment:
    return Segment(row.narration_id, row.participant_id, row.start_seconds, row.stop_seconds, row.labels, sources)
