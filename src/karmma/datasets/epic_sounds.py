"""EPIC-SOUNDS: labelled sounds of EPIC-KITCHENS-100's videos, official CSVs `EPIC_Sounds_{train,validation}.csv`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic.dataclasses import dataclass

from ..config import STRICT
from ..data.manifest import Manifest
from ..files import rows_of
from ..types import KarmmaError, LabelSpace
from .annotations import TimedAction, parse_class, parse_times
from .epic import EpicConfig, VideoInfo, find_sources, read_video_info, segment_of

CLASSES = 44
SPLITS = ("train", "validation")
COLUMNS = ("annotation_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp", "class", "class_id")


@dataclass(frozen=True, config=STRICT)
class EpicSoundsConfig:
    """`annotations`: directory of the CSVs; null is `annotations` below the root. `files` as in the data set epic."""

    annotations: str | None = None
    files: EpicConfig = EpicConfig()


@dataclass(frozen=True)
class SoundEvent(TimedAction):
    """One row of the CSV."""

    class_id: int

    @property
    def labels(self) -> dict[str, int]:
        return {"sound": self.class_id}


def load_epic_sounds(root: Path, settings: EpicSoundsConfig) -> Manifest:
    """Sounds of the videos that are there. Raises KarmmaError for bad annotations or no video at all."""
    annotations = Path(settings.annotations) if settings.annotations else root / "annotations"
    names: dict[int, str] = {}
    events = {split: read_events(annotations / f"EPIC_Sounds_{split}.csv", names) for split in SPLITS}
    infos = read_video_info(annotations / "EPIC_100_video_info.csv")
    videos = {event.video_id: event for rows in events.values() for event in rows}
    found = {name: find_sources(root, event, infos.get(name, VideoInfo()), settings.files) for name, event in videos.items()}
    there = {name for name, sources in found.items() if sources}
    if not there:
        raise KarmmaError(f"{root}: none of {len(found)} videos is there")
    splits = {
        split: tuple(segment_of(event, found[event.video_id]) for event in rows if event.video_id in there)
        for split, rows in events.items()
    }
    counts = {"videos": len(there), "videos_missing": len(found) - len(there),
              "videos_by_modality": dict(Counter(name for sources in found.values() for name in sources))}  # fmt: skip
    labels = tuple(names.get(index, f"class {index}") for index in range(CLASSES))
    return Manifest("epic_sounds", LabelSpace({"sound": labels}), splits, provenance=counts)


def read_events(path: Path, names: dict[int, str]) -> list[SoundEvent]:
    """All events of a CSV; fills in the class names met. Raises KarmmaError naming file and line."""
    events = []
    for line, row in rows_of(path, COLUMNS):
        where = f"{path}: line {line}"
        times = parse_times(where, row)
        index = parse_class(where, "class_id", row["class_id"], CLASSES)
        if names.setdefault(index, row["class"]) != row["class"]:
            raise KarmmaError(f"{where}: class {index} is {row['class']!r} here and {names[index]!r} elsewhere")
        events.append(SoundEvent(row["annotation_id"], row["participant_id"], row["video_id"], *times, index))
    return events
