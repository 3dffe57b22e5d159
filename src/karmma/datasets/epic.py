"""EPIC-KITCHENS-100 (Damen et al., IJCV 2022): the official CSVs unchanged, videos in the layouts people have them in.

Only the videos that are there are used; how many are not is part of the manifest and of results.json.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from ..config import STRICT, Count, Share
from ..data.manifest import Manifest, Segment
from ..files import rows_of
from ..media.pictures import PictureSequence
from ..types import KarmmaError, LabelSpace
from .annotations import TimedAction, read_actions, read_classes, read_column, read_rulstm, read_timestamps

LABEL_SIZES = {"verb": 97, "noun": 300}
VIDEO_FOLDERS = ("{participant}/videos/", "videos/{participant}/", "videos/train/{participant}/", "videos/test/{participant}/",
                 "{participant}/", "videos/", "")  # fmt: skip
VIDEO_PLACES = tuple(folder + "{video}" + suffix for folder in VIDEO_FOLDERS for suffix in (".MP4", ".mp4"))  # the latter made smaller
SOUND_PLACES = ("{participant}/audio/{video}.wav", "audio/{participant}/{video}.wav", "audio/{video}.wav")
PICTURE_PLACES = ("{participant}/{kind}_frames/{video}", "{kind}_frames/{participant}/{video}",
                  "frames_rgb_flow/{kind}/train/{participant}/{video}", "frames_rgb_flow/{kind}/test/{participant}/{video}",
                  "{participant}/{video}/{kind}_frames", "{kind}_frames/{video}")  # fmt: skip
IMU_PLACES = ("{participant}/imu/{video}.csv", "imu/{participant}/{video}.csv", "imu/{video}.csv")
HAND_PLACES = ("{participant}/hands/{video}.npz", "hands/{participant}/{video}.npz", "hands/{video}.npz")
VIDEO_NAME = re.compile(r"P\d+_(\d+)$")
BOX_PLACES = ("{participant}/boxes/{video}.csv", "boxes/{participant}/{video}.csv", "boxes/{video}.csv")


@dataclass(frozen=True)
class Extraction:
    """How the authors cut videos into pictures 256 pixels high, whatever rate the videos have.

    One picture of flow for `flow_stride` frames, of the motion within `flow_reach` frames, 0 and 255 for ∓`flow_bound_pixels`.
    """

    frames_hz: float
    flow_stride: int
    flow_reach: int
    flow_bound_pixels: float


FIRST_55 = Extraction(60.0, 2, 3, 25.0)  # says the README of EPIC-KITCHENS-55's annotations; numbers of frames agree
EXTENSION = Extraction(50.0, 1, 1, 8.0)  # say the commands in the README of EPIC-KITCHENS-100's annotations


def published_extraction(video: str) -> Extraction:
    """How the pictures of a video were made: those of EPIC-KITCHENS-55 have two digits, those that came later three.

    Raises KarmmaError for what is no name of a video.
    """
    name = VIDEO_NAME.match(video)
    if name is None:
        raise KarmmaError(f"{video!r} is no video of EPIC-KITCHENS; their names are like P01_01 and P01_101")
    return EXTENSION if len(name[1]) == 3 else FIRST_55


@dataclass(frozen=True, config=STRICT)
class EpicConfig:
    """`annotations`: directory of the official CSVs; null is `annotations` below the root.

    `split` "official": train, validation, test (without labels). "star" (EPIC* of the paper): `star_share` of the training
    videos validate, the official validation set tests; which videos is decided by a hash of their names (not from the paper).
    `train_labels` "rulstm" reads the header-less `rulstm_training.csv` in place of EPIC_100_train.csv.
    `prefer` says what is read where a video and its pictures (folder or tar) are both there. `pictures` "published": as the authors
    cut them, see `Extraction`. "own": at the rate of EPIC_100_video_info.csv, flow pictures at one per `flow_stride` frames.
    """

    annotations: str | None = None
    split: Literal["official", "star"] = "official"
    star_share: Share = 0.1
    train_labels: Literal["official", "rulstm"] = "official"
    prefer: Literal["video", "pictures"] = "pictures"
    pictures: Literal["published", "own"] = "published"
    flow_stride: Count = 1


def load_epic(root: Path, settings: EpicConfig) -> Manifest:
    """The manifest of a directory with EPIC's videos. Raises KarmmaError for bad annotations or no video at all."""
    annotations = Path(settings.annotations) if settings.annotations else root / "annotations"
    verbs, nouns = (read_classes(annotations / f"EPIC_100_{head}_classes.csv") for head in LABEL_SIZES)
    labels = LabelSpace({"verb": verbs, "noun": nouns})
    if labels.sizes != LABEL_SIZES:
        raise KarmmaError(f"{annotations}: {len(verbs)} verbs and {len(nouns)} nouns, expected 97 and 300")
    actions = split_actions(annotations, settings)
    videos = {row.video_id: row for rows in actions.values() for row in rows}
    infos = read_video_info(annotations / "EPIC_100_video_info.csv")
    found = {video: find_sources(root, row, infos.get(video, VideoInfo()), settings) for video, row in videos.items()}
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
    kinds = Counter(name for sources in found.values() for name in sources)
    counts = {
        "videos": len(there), "videos_by_modality": dict(kinds), "videos_missing": len(found) - len(there),
        "segments_without_video": dropped,
    }  # fmt: skip
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


Sources = dict[str, Path | PictureSequence]


@dataclass(frozen=True)
class VideoInfo:
    """A row of EPIC_100_video_info.csv: frames per second and length; None where there is none."""

    frames_hz: float | None = None
    seconds: float | None = None


def read_video_info(path: Path) -> dict[str, VideoInfo]:
    """By video; empty where there is no such file. Raises KarmmaError for a rate or length that is none."""
    rows = rows_of(path, ("video_id", "fps")) if path.is_file() else ()
    return {row["video_id"]: info_of(f"{path}: line {line}", row) for line, row in rows}


def info_of(where: str, row: Mapping[str, str]) -> VideoInfo:
    """Raises KarmmaError for a rate or length that is none."""
    numbers = []
    for column, most in (("fps", 1000.0), ("duration", 1e6)):
        try:
            numbers.append(float(row[column]) if row.get(column) else None)
        except ValueError as error:
            raise KarmmaError(f"{where}: {column} {row[column]!r} is no number") from error
        if numbers[-1] is not None and not 0 < numbers[-1] < most:
            raise KarmmaError(f"{where}: {column} {row[column]} is impossible")
    return VideoInfo(*numbers)


def find_sources(root: Path, row: TimedAction, info: VideoInfo, settings: EpicConfig) -> Sources:
    """Files or pictures of a video by modality; empty where there is nothing.

    Raises KarmmaError for own pictures of a video whose rate nobody names.
    """
    video = first_there(root, VIDEO_PLACES, row)
    sources: Sources = {name: video for name in ("rgb", "flow") if video is not None}
    for kind in ("rgb", "flow"):
        pictures = first_there(root, with_tars(kind), row)
        if pictures is not None and (kind not in sources or settings.prefer == "pictures"):
            sources[kind] = pictures_of(pictures, kind, row.video_id, info, settings)
    extra = {
        "audio": first_there(root, SOUND_PLACES, row) or video, "detections": first_there(root, BOX_PLACES, row),
        "imu": first_there(root, IMU_PLACES, row), "hands": first_there(root, HAND_PLACES, row),
    }  # fmt: skip
    return sources | {name: path for name, path in extra.items() if path is not None}


def pictures_of(path: Path, kind: str, video: str, info: VideoInfo, settings: EpicConfig) -> PictureSequence:
    """Pictures of rgb or flow with their rate. Raises KarmmaError for own pictures of a video whose rate nobody names."""
    if settings.pictures == "published":
        made = published_extraction(video)
        if kind == "rgb":
            return PictureSequence(path, made.frames_hz, film_seconds=info.seconds)
        return PictureSequence(
            path, made.frames_hz / made.flow_stride, "u", bound_pixels=made.flow_bound_pixels,
            motion_seconds=made.flow_reach / made.frames_hz, film_seconds=info.seconds,
        )  # fmt: skip
    if info.frames_hz is None:
        raise KarmmaError(f"{path}: EPIC_100_video_info.csv does not say how many frames per second {video} has")
    stride, part = (settings.flow_stride, "u") if kind == "flow" else (1, "")
    return PictureSequence(path, info.frames_hz / stride, part, film_seconds=info.seconds)


def with_tars(kind: str) -> list[str]:
    """Where the pictures of a kind may lie: as folders, then as tar files."""
    places = [place.replace("{kind}", kind) for place in PICTURE_PLACES]
    return places + [f"{place}.tar" for place in places]


def first_there(root: Path, places: Sequence[str], row: TimedAction) -> Path | None:
    candidates = (root / place.format(participant=row.participant_id, video=row.video_id) for place in places)
    return next((path for path in candidates if path.exists()), None)


def segment_of(row: TimedAction, sources: Mapping[str, Path | PictureSequence]) -> Segment:
    return Segment(row.narration_id, row.participant_id, row.start_seconds, row.stop_seconds, row.labels, sources)
