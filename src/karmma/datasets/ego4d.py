"""Ego4D's actions of hands and objects: the verb and noun of every stretch that its long-term anticipation benchmark annotates.

Read unchanged: `annotations/fho_lta_{train,val,test_unannotated}.json` and `fho_lta_taxonomy.json`, the films
`clips/<clip>.mp4`, or else `video_540ss/<video>.mp4` or `full_scale/<video>.mp4`, as the authors' downloader places them below
its version's folder; the imu as tables `imu_tables/<video>.csv` (`karmma convert ego4d-imu`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass as checked_dataclass

from ..config import STRICT
from ..data.manifest import Manifest, Segment
from ..files import read_json
from ..types import KarmmaError, LabelSpace

SPLITS = {"train": "train", "validation": "val", "test": "test_unannotated"}
HEADS = {"verb": "verbs", "noun": "nouns"}  # keys of the taxonomy
CLIP = "clips/{clip}.mp4"
VIDEOS = ("video_540ss/{video}.mp4", "full_scale/{video}.mp4")
IMU = "imu_tables/{video}.csv"
PEOPLE = ("ego4d.json", "../ego4d.json")  # the authors' list of videos, where it was downloaded, too


@checked_dataclass(frozen=True, config=STRICT)
class Ego4dConfig:
    """`annotations`: directory of the JSON files; null is `annotations` below the root."""

    annotations: str | None = None


@dataclass(frozen=True)
class HandAction:
    """One entry: seconds are those of its clip, which begins `parent_start_seconds` after its video. `labels` may be empty."""

    clip: str
    video: str
    number: int
    start_seconds: float
    stop_seconds: float
    parent_start_seconds: float
    labels: dict[str, int]


@dataclass(frozen=True)
class Recording:
    """Where a clip's film lies, if it is there, at which of the film's seconds the clip begins, and files of other sensors."""

    film: Path | None
    start_seconds: float
    imu: Path | None

    @property
    def sources(self) -> dict[str, Path]:
        sources = dict.fromkeys(("rgb", "flow", "audio"), self.film) | {"imu": self.imu}
        return {name: path for name, path in sources.items() if path is not None}


def load_ego4d(root: Path, settings: Ego4dConfig) -> Manifest:
    """The manifest of the clips that are there. Raises KarmmaError for bad annotations or no film or table at all."""
    annotations = Path(settings.annotations) if settings.annotations else root / "annotations"
    labels = read_taxonomy(annotations / "fho_lta_taxonomy.json")
    paths = {split: annotations / f"fho_lta_{name}.json" for split, name in SPLITS.items()}
    actions = {split: read_actions(path, labels) for split, path in paths.items() if split != "test" or path.is_file()}
    clips = {action.clip: action for rows in actions.values() for action in rows}
    found = {clip: find_recording(root, action) for clip, action in clips.items()}
    there = {clip for clip, recording in found.items() if recording.sources}
    if not there:
        raise KarmmaError(f"{root}: none of {len(found)} clips is there; looked for e.g. {CLIP}, {VIDEOS[0]}, {IMU}")
    people = read_people(root)
    splits = {
        split: tuple(segment_of(action, found[action.clip], people) for action in rows if action.clip in there)
        for split, rows in actions.items()
    }
    counts = {
        "clips": len(there), "clips_missing": len(found) - len(there),
        "clips_by_modality": dict(Counter(name for recording in found.values() for name in recording.sources)),
        "segments_without_recording": {split: len(rows) - len(splits[split]) for split, rows in actions.items()},
    }  # fmt: skip
    return Manifest("ego4d", labels, splits, provenance=counts)


def read_taxonomy(path: Path) -> LabelSpace:
    """Verbs and nouns in the order of their numbers."""
    content = read_json(path)
    for key in HEADS.values():
        if not isinstance(content.get(key), list) or not all(isinstance(name, str) for name in content[key]):
            raise KarmmaError(f"{path}: {key}: expected a list of names")
    return LabelSpace({head: tuple(content[key]) for head, key in HEADS.items()})


def read_actions(path: Path, labels: LabelSpace) -> list[HandAction]:
    """All entries of a file. Raises KarmmaError naming file and entry of the first bad one."""
    clips = read_json(path).get("clips")
    if not isinstance(clips, list):
        raise KarmmaError(f"{path}: clips: expected a list")
    return [read_action(f"{path}: entry {number}", entry, labels) for number, entry in enumerate(clips)]


def read_action(where: str, entry: Any, labels: LabelSpace) -> HandAction:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("clip_uid", "video_uid")):
        raise KarmmaError(f"{where}: expected an object with clip_uid and video_uid")
    start, stop, parent = (
        read_seconds(where, key, entry) for key in ("action_clip_start_sec", "action_clip_end_sec", "clip_parent_start_sec")
    )
    start = max(start, 0.0)  # an action may have begun before its clip
    if stop <= start:
        raise KarmmaError(f"{where}: action_clip_end_sec {stop:g} does not lie after action_clip_start_sec {start:g}")
    number = read_number(where, "action_idx", entry)
    is_labelled = any(f"{head}_label" in entry for head in labels.heads)
    classes = labels.sizes.items() if is_labelled else ()
    found = {head: read_number(where, f"{head}_label", entry, count) for head, count in classes}
    return HandAction(entry["clip_uid"], entry["video_uid"], number, start, stop, parent, found)


def read_seconds(where: str, key: str, entry: Mapping[str, Any]) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise KarmmaError(f"{where}: {key} {value!r} is no number of seconds")
    return float(value)


def read_number(where: str, key: str, entry: Mapping[str, Any], below: int | None = None) -> int:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0 or (below is not None and value >= below):
        raise KarmmaError(f"{where}: {key} {value!r} is not a whole number{'' if below is None else f' from 0 to {below - 1}'}")
    return value


def find_recording(root: Path, action: HandAction) -> Recording:
    """The clip by itself or, where that is not there, its video."""
    table = root / IMU.format(video=action.video)
    imu = table if table.is_file() else None
    clip = root / CLIP.format(clip=action.clip)
    if clip.is_file():
        return Recording(clip, 0.0, imu)
    videos = (root / place.format(video=action.video) for place in VIDEOS)
    return Recording(next((path for path in videos if path.is_file()), None), action.parent_start_seconds, imu)


def read_people(root: Path) -> dict[str, str]:
    """Who wore the camera, by video, where the authors' list says; empty without it."""
    path = next((root / name for name in PEOPLE if (root / name).is_file()), None)
    videos = read_json(path).get("videos") if path is not None else ()
    if not isinstance(videos, list | tuple):
        raise KarmmaError(f"{path}: videos: expected a list")
    known = [video for video in videos if isinstance(video, dict) and video.get("fb_participant_id") is not None]
    return {str(video.get("video_uid")): str(video["fb_participant_id"]) for video in known}


def segment_of(action: HandAction, recording: Recording, people: Mapping[str, str]) -> Segment:
    """Seconds are those of the film; the imu's are those of the whole video, ahead of a clip's by where that begins."""
    start = recording.start_seconds
    ahead = {"imu": action.parent_start_seconds - start} if recording.imu is not None else {}
    return Segment(
        f"{action.clip}_{action.number}", people.get(action.video, action.video), start + action.start_seconds,
        start + action.stop_seconds, action.labels, recording.sources, ahead,
    )  # fmt: skip
