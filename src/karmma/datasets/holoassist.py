"""HoloAssist: people who assemble things under guidance, filmed by a HoloLens 2 that tracks their hands (Wang et al., ICCV 2023).

Read unchanged, below `labels/` (or `data.settings.labels`): `{train,val,test}_<date>.txt`, `labels_<date>_<number>_classes.json` and
`…_label2idx.json`; films `<session>/Export_py/Video_compress.mp4` or `Video_pitchshift.mp4`, with sound. Hands lie in
`hands/<session>.npz` (`karmma convert holoassist-hands`), the headset's own motion in `imu/<session>.csv` (`holoassist-imu`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as checked_dataclass

from ..config import STRICT
from ..data.manifest import Manifest, Segment
from ..files import read_json, read_text, replacing
from ..media.containers import MediaError
from ..modalities import FROM_VIDEO
from ..skeletons import HANDS
from ..types import KarmmaError, LabelSpace
from .imu_tables import ImuTable, write_imu_table

SPLITS = {"train": "train", "validation": "val", "test": "test"}
FILMS = ("Export_py/Video_compress.mp4", "Export_py/Video_pitchshift.mp4")
SHORTEST_SECONDS = 1 / 30  # of an action, as in the authors' loader
SIDES = ("Left", "Right")
JOINTS = HANDS["openxr"].joints
POSE = 16  # numbers of a 4 × 4 matrix, row by row
COLUMNS = 3 + JOINTS * (POSE + 2)  # seconds, ticks, whether the hand is active; joints; which are valid; which are tracked
AXES = 5  # columns of a motion sensor: seconds, ticks, three axes
TICKS_HZ = 10_000_000


@checked_dataclass(frozen=True, config=STRICT)
class HoloAssistConfig:
    """`labels`: directory of the label files and splits; null is `labels` below the root. `benchmark`: which actions count."""

    labels: str | None = None
    benchmark: Literal["fine_grained_action", "coarse_grained_action"] = "fine_grained_action"


@dataclass(frozen=True)
class LabelFiles:
    """The newest files of a directory, as the authors name them."""

    events: Path
    names: Path
    sessions: dict[str, Path]


@dataclass(frozen=True)
class GuidedAction:
    """What somebody does from when to when."""

    start_seconds: float
    stop_seconds: float
    action: int


def load_holoassist(root: Path, settings: HoloAssistConfig) -> Manifest:
    """The manifest of the sessions that are there. Raises KarmmaError for bad label files or no session at all."""
    files = find_label_files(Path(settings.labels) if settings.labels else root / "labels")
    labels = LabelSpace({"action": read_names(files.names, settings.benchmark)})
    events = part_of(files.events, settings.benchmark, dict)
    wanted = {split: list(filter(None, map(str.strip, read_text(path).splitlines()))) for split, path in files.sessions.items()}
    found = {session: sources_of(root, session) for sessions in wanted.values() for session in sessions}
    there = {session for session, sources in found.items() if sources}
    if not there:
        example = f"{next(iter(found), 'R007-7July-DSLR')}/{FILMS[0]}"
        raise KarmmaError(f"{root}: none of {len(found)} sessions is there; looked for e.g. {example}")
    where = f"{files.events}: {settings.benchmark}"
    actions = {session: read_events(f"{where}: {session}", events.get(session, ()), labels) for session in there}
    splits = {
        split: tuple(segment for name in sessions if name in there for segment in segments_of(name, actions[name], found[name]))
        for split, sessions in wanted.items()
    }
    provenance = {
        "labels": files.events.name, "sessions": len(there), "sessions_missing": len(found) - len(there),
        "sessions_without_actions": sum(not rows for rows in actions.values()),
        "actions_too_short": sum(map(len, actions.values())) - sum(map(len, splits.values())),
        "sessions_by_modality": dict(Counter(name for sources in found.values() for name in sources)),
    }  # fmt: skip
    return Manifest("holoassist", labels, splits, provenance=provenance)


def segments_of(session: str, actions: Sequence[GuidedAction], sources: dict[str, Path]) -> list[Segment]:
    """Of a session, but for actions that are shorter than a picture."""
    return [
        Segment(f"{session}_{number}", session, row.start_seconds, row.stop_seconds, {"action": row.action}, sources)
        for number, row in enumerate(actions) if row.stop_seconds - row.start_seconds >= SHORTEST_SECONDS
    ]  # fmt: skip


def find_label_files(directory: Path) -> LabelFiles:
    """Raises KarmmaError where one is not there."""
    events = newest(directory, "labels_*_classes.json")
    names = events.with_name(events.name.replace("_classes.json", "_label2idx.json"))
    sessions = {split: newest(directory, f"{name}_*.txt") for split, name in SPLITS.items() if split != "test"}
    test = sorted(directory.glob("test_*.txt"))
    return LabelFiles(events, names, sessions | ({"test": test[-1]} if test else {}))


def newest(directory: Path, pattern: str) -> Path:
    found = sorted(directory.glob(pattern))
    if not found:
        raise KarmmaError(f"{directory}: no {pattern} in it; say where the label files are: data.settings.labels")
    return found[-1]


def part_of(path: Path, benchmark: str, kind: type[Any]) -> Any:
    """What a label file says about a benchmark. Raises KarmmaError if that is of another kind."""
    content = read_json(path)
    if not isinstance(content.get(benchmark), kind):
        raise KarmmaError(f"{path}: no {benchmark}, or of another kind than expected; there is: {', '.join(content)}")
    return content[benchmark]


def read_names(path: Path, benchmark: str) -> tuple[str, ...]:
    """Classes in the order of their numbers."""
    names = list(part_of(path, benchmark, list | dict))  # type: ignore[arg-type]
    if not names or not all(isinstance(name, str) for name in names):
        raise KarmmaError(f"{path}: {benchmark}: expected names of classes")
    return tuple(names)


def read_events(where: str, events: Any, labels: LabelSpace) -> list[GuidedAction]:
    """The actions of a session. Raises KarmmaError naming the first bad one."""
    return [read_event(f"{where}: {number}", event, labels) for number, event in enumerate(events)]


def read_event(where: str, event: Any, labels: LabelSpace) -> GuidedAction:
    try:
        start, stop, (_, action) = event
        found = GuidedAction(float(start), float(stop), int(action))
    except (TypeError, ValueError) as error:
        raise KarmmaError(f"{where}: {event!r} is not [start, stop, [task, class]]") from error
    if not (math.isfinite(found.start_seconds) and math.isfinite(found.stop_seconds) and found.start_seconds >= 0):
        raise KarmmaError(f"{where}: {start} to {stop} are no seconds")
    if not 0 <= found.action < labels.sizes["action"]:
        raise KarmmaError(f"{where}: class {found.action} is not from 0 to {labels.sizes['action'] - 1}")
    return found


def sources_of(root: Path, session: str) -> dict[str, Path]:
    film = next((root / session / name for name in FILMS if (root / session / name).is_file()), None)
    converted = {"hands": root / "hands" / f"{session}.npz", "imu": root / "imu" / f"{session}.csv"}
    sources = dict.fromkeys(FROM_VIDEO, film) | {name: path for name, path in converted.items() if path.is_file()}
    return {name: path for name, path in sources.items() if path is not None}


def convert_holoassist_hands(session: Path, out: Path) -> dict[str, float]:
    """Both hands of a session from its camera, by the film's seconds, in the axes of the layout `openxr` (x right, y up, z back).

    A joint that is not valid has no numbers, nor has any where the hand is not active or the camera's pose is unknown. Returns how
    many moments there are, and in what share of them each hand has joints. Raises KarmmaError naming file and line.
    """
    export = session / "Export_py"
    poses = read_rows(export / "Video" / "Pose_sync.txt", 2 + POSE)
    rows = [read_rows(export / "Hands" / f"{side}_sync.txt", COLUMNS) for side in SIDES]
    count = min(map(len, (poses, *rows)))
    seconds = (poses[:count, 1] - film_start(export / "Video" / "VideoMp4Timing.txt")) / TICKS_HZ
    cameras = poses[:count, 2:].reshape(-1, 4, 4)
    hands = np.stack([seen_by(cameras, hand[:count]) for hand in rows], 1)
    rises = rising(seconds)
    with replacing(out) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, seconds=seconds[rises], hands=hands[rises].astype(np.float32))
    shares = np.isfinite(hands[rises]).any((2, 3)).mean(0)
    return {"moments": int(rises.sum()), "left_share": float(shares[0]), "right_share": float(shares[1])}


def convert_holoassist_imu(session: Path, out: Path) -> ImuTable:
    """What a session's accelerometer and gyroscope measured at each of its pictures, by the film's seconds.

    Both have the moments of the film's pictures; where they differ, the force is taken between its moments. Samples without a number
    and those that do not come later than all before are left out. Raises KarmmaError naming file and line.
    """
    export = session / "Export_py"
    force, turn = (read_rows(export / "IMU" / f"{kind}_sync.txt", AXES)[:, 1:] for kind in ("Accelerometer", "Gyroscope"))
    force, rows = (some[np.isfinite(some).all(1)] for some in (force, turn))
    force, rows = (some[rising(some[:, 0])] for some in (force, rows))
    if not len(force) or not len(rows):
        raise MediaError(f"{export / 'IMU'}: no moment has both force and turn")
    rows = rows[(rows[:, 0] >= force[0, 0]) & (rows[:, 0] <= force[-1, 0])]
    if not len(rows):
        raise MediaError(f"{export / 'IMU'}: accelerometer and gyroscope were never on at once")
    between = np.stack([np.interp(rows[:, 0], force[:, 0], axis) for axis in force[:, 1:].T], 1)
    seconds = (rows[:, 0] - film_start(export / "Video" / "VideoMp4Timing.txt")) / TICKS_HZ
    return write_imu_table(out, seconds, np.concatenate([between, rows[:, 1:]], 1), len(turn))


def rising(moments: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which moments are later than all before."""
    return np.concatenate([np.ones(min(len(moments), 1), bool), moments[1:] > np.maximum.accumulate(moments)[:-1]])


def film_start(path: Path) -> float:
    """The tick at which the film begins: its first line."""
    lines = read_text(path).split()
    try:
        return float(lines[0])
    except (IndexError, ValueError) as error:
        raise KarmmaError(f"{path}: line 1 is no tick at which the film begins") from error


def read_rows(path: Path, columns: int) -> NDArray[np.float64]:
    """A table of numbers without a header, `(rows, columns)`."""
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    for number, cells in enumerate(lines, 1):
        if len(cells) != columns:
            raise KarmmaError(f"{path}: line {number}: {len(cells)} columns, expected {columns}")
    if not lines:
        raise KarmmaError(f"{path}: no lines")
    try:
        return np.array(lines, np.float64)
    except ValueError as error:
        raise KarmmaError(f"{path}: {error}") from error


def seen_by(cameras: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Joints `(moments, 26, 3)` in the axes of OpenXR's view, of poses in the world whose x points ahead, y left and z up."""
    known = np.isfinite(cameras).all((1, 2))
    inverse = np.full_like(cameras, np.nan)
    inverse[known] = np.linalg.pinv(cameras[known])
    joints = rows[:, 3 : 3 + JOINTS * POSE].reshape(-1, JOINTS, 4, 4)[..., 3]  # the last column: where each is
    ahead, left, up = np.moveaxis(np.einsum("tij,tvj->tvi", inverse, joints)[..., :3], -1, 0)
    valid = (rows[:, 3 + JOINTS * POSE : 3 + JOINTS * (POSE + 1)] > 0) & (rows[:, 2:3] > 0)
    return np.where(valid[..., None], np.stack([-left, up, -ahead], -1), np.nan)
