"""H2O: two hands and an object before a head camera, with the joints of both hands (Kwon et al., ICCV 2021).

Read unchanged: `label_split/action_{train,val,test}.txt` (or `action_labels/…`, as the authors' repository has them), of each take
`<subject>/<scene>/<take>/cam4/rgb256` (or `rgb`); a subject's folder may be called `<subject>_ego`. Hands lie in
`hands/<subject>_<scene>_<take>.npz` (`karmma convert h2o-hands`), depth in `cam4/depth`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as checked_dataclass

from ..config import STRICT, Positive
from ..data.manifest import Manifest, Segment, Source
from ..files import read_text, replacing
from ..media.pictures import PictureSequence
from ..modalities import FROM_PICTURES
from ..skeletons import HANDS
from ..types import KarmmaError, LabelSpace

SPLITS = {"train": "train", "validation": "val", "test": "test"}
LABELS = ("label_split", "action_labels")
COLUMNS = ("id", "path", "start_act", "end_act")
OBJECTS = ("book", "espresso", "lotion", "spray", "milk", "cocoa", "chips", "cappuccino")
VERBS = {  # in the order of the classes' numbers, each with its objects
    "grab": OBJECTS, "place": OBJECTS,
    "open": ("lotion", "milk", "chips"), "close": ("lotion", "milk", "chips"), "pour": ("milk",),
    "take out": ("espresso", "cocoa", "chips", "cappuccino"), "put in": ("espresso", "cocoa", "cappuccino"),
    "apply": ("lotion", "spray"), "read": ("book", "espresso"), "spray": ("spray",), "squeeze": ("lotion",),
}  # fmt: skip
ACTIONS = tuple(f"{verb} {noun}" for verb, nouns in VERBS.items() for noun in nouns)  # class 1 is the first: 0 is background
CAMERA, PICTURES = "cam4", ("rgb256", "rgb")
JOINTS = HANDS["mediapipe"].joints
NUMBERS = 2 * (1 + 3 * JOINTS)  # of one moment: for each hand whether it is annotated, and its joints


@checked_dataclass(frozen=True, config=STRICT)
class H2oConfig:
    """`annotations`: directory of the action files; null is `label_split` or `action_labels` below the root.

    `frames_hz`: of the camera; pictures and hands are numbered from 0.
    """

    annotations: str | None = None
    frames_hz: Positive = 30.0


@dataclass(frozen=True)
class H2oAction:
    """One row: an action from one picture to another, both included. `action` is None where labels are withheld."""

    number: int
    take: str
    first: int
    last: int
    action: int | None


def load_h2o(root: Path, settings: H2oConfig) -> Manifest:
    """The manifest of the takes that are there. Raises KarmmaError for bad annotations or no take at all."""
    directory = Path(settings.annotations) if settings.annotations else find_labels(root)
    paths = {split: directory / f"action_{name}.txt" for split, name in SPLITS.items()}
    rows = {split: read_actions(path) for split, path in paths.items() if split != "test" or path.is_file()}
    takes = {row.take for some in rows.values() for row in some}
    found = {take: sources_of(root, take, settings.frames_hz) for take in takes}
    there = {take for take, sources in found.items() if sources}
    if not there:
        place = f"{next(iter(sorted(takes)), 'subject1/h1/0')}/{CAMERA}/{PICTURES[0]}"
        raise KarmmaError(f"{root}: none of {len(takes)} takes is there; looked for e.g. {place}")
    splits = {
        split: tuple(segment_of(SPLITS[split], row, found[row.take], settings.frames_hz) for row in some if row.take in there)
        for split, some in rows.items()
    }
    counts = {
        "takes": len(there), "takes_missing": len(takes) - len(there),
        "takes_by_modality": dict(Counter(name for sources in found.values() for name in sources)),
        "segments_without_recording": {split: len(some) - len(splits[split]) for split, some in rows.items()},
    }  # fmt: skip
    return Manifest("h2o", LabelSpace({"action": ACTIONS}), splits, provenance=counts)


def find_labels(root: Path) -> Path:
    """Raises KarmmaError where the action files are in neither place."""
    places = [root / name for name in LABELS]
    directory = next((place for place in places if (place / "action_train.txt").is_file()), None)
    if directory is None:
        raise KarmmaError(f"{root}: no action_train.txt in {' or '.join(LABELS)}; say where it is: data.settings.annotations")
    return directory


def read_actions(path: Path) -> list[H2oAction]:
    """All rows of an action file. Raises KarmmaError naming file and line of the first bad one."""
    lines = [(number, line.split()) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    header = lines[0][1] if lines else []
    lacking = [column for column in COLUMNS if column not in header]
    if lacking:
        raise KarmmaError(f"{path}: line 1: no column {lacking[0]!r}; found: {' '.join(header) or 'nothing'}")
    return [read_action(f"{path}: line {number}", header, cells) for number, cells in lines[1:]]


def read_action(where: str, header: list[str], cells: list[str]) -> H2oAction:
    if len(cells) != len(header):
        raise KarmmaError(f"{where}: {len(cells)} cells for the columns {' '.join(header)}")
    row = dict(zip(header, cells, strict=True))
    number, first, last = (whole_number(where, key, row[key]) for key in ("id", "start_act", "end_act"))
    if last < first:
        raise KarmmaError(f"{where}: end_act {last} lies before start_act {first}")
    action = None
    if "action_label" in row:
        action = whole_number(where, "action_label", row["action_label"]) - 1
        if not 0 <= action < len(ACTIONS):
            raise KarmmaError(f"{where}: action_label {action + 1} is not from 1 to {len(ACTIONS)}")
    return H2oAction(number, row["path"].strip("/"), first, last, action)


def whole_number(where: str, key: str, cell: str) -> int:
    if not cell.isdecimal():
        raise KarmmaError(f"{where}: {key} {cell!r} is no whole number")
    return int(cell)


def sources_of(root: Path, take: str, frames_hz: float) -> dict[str, Source]:
    """What there is of a take."""
    sources: dict[str, Source] = {}
    camera = next((path for path in places_of(root, take) if path.is_dir()), None)
    pictures = [camera / name for name in PICTURES if (camera / name).is_dir()] if camera is not None else []
    if pictures:
        sources |= dict.fromkeys(FROM_PICTURES, PictureSequence(pictures[0], frames_hz, first_number=0))
    hands = root / "hands" / f"{take.replace('/', '_')}.npz"
    sources |= {"hands": hands} if hands.is_file() else {}
    if camera is not None and (camera / "depth").is_dir():
        sources["depth"] = PictureSequence(camera / "depth", frames_hz, first_number=0)
    return sources


def places_of(root: Path, take: str) -> list[Path]:
    subject, _, rest = take.partition("/")
    return [root / name / rest / CAMERA for name in (subject, f"{subject}_ego")]


def segment_of(split: str, row: H2oAction, sources: dict[str, Source], frames_hz: float) -> Segment:
    labels = {} if row.action is None else {"action": row.action}
    start, stop = row.first / frames_hz, (row.last + 1) / frames_hz
    return Segment(f"{split}_{row.number}", row.take.partition("/")[0], start, stop, labels, sources)


def find_takes(root: Path) -> dict[str, Path]:
    """Directories of the joints of every take below a root, by `<subject>_<scene>_<take>`. Raises KarmmaError if there is none."""
    folders = sorted(path for path in root.glob(f"*/*/*/{CAMERA}/hand_pose") if path.is_dir())
    if not folders:
        raise KarmmaError(f"{root}: no <subject>/<scene>/<take>/{CAMERA}/hand_pose in it")
    parts = [tuple(folder.parents[level].name for level in (3, 2, 1)) for folder in folders]
    return {"_".join((part[0].removesuffix("_ego"), *part[1:])): folder for part, folder in zip(parts, folders, strict=True)}


def convert_h2o_hands(folder: Path, out: Path, frames_hz: float) -> int:
    """The joints of a take as one .npz; returns how many moments it has. A hand that is not annotated has no numbers.

    Raises KarmmaError naming the file that does not hold the numbers of two hands.
    """
    numbers, hands = read_hands(folder)
    with replacing(out) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, seconds=numbers / frames_hz, hands=hands)
    return len(numbers)


def read_hands(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Numbers of the pictures, and joints `(moments, 2, 21, 3)` in metres, left first, y down and z ahead of the camera."""
    files = sorted((int(path.stem), path) for path in folder.glob("[0-9]*.txt") if path.stem.isdecimal())
    if not files:
        raise KarmmaError(f"{folder}: no numbered files in it")
    values = np.stack([read_moment(path) for _, path in files]).reshape(len(files), 2, 1 + 3 * JOINTS)
    joints = values[..., 1:].reshape(len(files), 2, JOINTS, 3)
    return np.array([number for number, _ in files]), np.where(values[..., :1, None] > 0, joints, np.float32(np.nan))


def read_moment(path: Path) -> NDArray[np.float32]:
    cells = read_text(path).split()
    try:
        values = np.array(cells, np.float64)
    except ValueError as error:
        raise KarmmaError(f"{path}: {error}") from error
    if len(values) != NUMBERS:
        raise KarmmaError(f"{path}: {len(values)} numbers, expected {NUMBERS}: for each hand a flag and {JOINTS} joints")
    return values.astype(np.float32)
