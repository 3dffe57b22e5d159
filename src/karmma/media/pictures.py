"""Videos that somebody has cut into numbered pictures: a folder or a tar of JPEGs, as EPIC-KITCHENS distributes them."""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .containers import MediaError
from .video import Pictures

NUMBERED = re.compile(r"(\d+)\.(jpe?g|png)$", re.IGNORECASE)


@dataclass(frozen=True)
class PictureSequence:
    """Numbered pictures below `path` (a folder or a .tar), `frames_hz` of them per second; number 1 is shown at second 0.

    `part` is the folder within, e.g. `u` of a flow folder; empty for pictures that lie directly there.
    """

    path: Path
    frames_hz: float
    part: str = ""

    def is_file(self) -> bool:
        """Whether there is anything; named as of a path, because it stands where a path may."""
        return self.path.exists()


@dataclass(frozen=True)
class Place:
    """Where a picture lies: a file, or a stretch of a tar."""

    path: Path
    offset: int = 0
    size: int = -1

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@lru_cache(maxsize=32)
def list_pictures(path: Path, part: str) -> dict[int, Place]:
    """Pictures by number. Raises MediaError for a missing or broken archive, or one without pictures."""
    if path.is_dir():
        places = {int(match[1]): Place(file) for file in (path / part).glob("*") if (match := NUMBERED.search(file.name))}
    elif path.is_file():
        places = list_tar(path, part)
    else:
        raise MediaError(f"{path}: no such file or folder")
    if not places:
        raise MediaError(f"{path}: no numbered pictures in {part or 'it'}")
    return places


def list_tar(path: Path, part: str) -> dict[int, Place]:
    places = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                name = Path(member.name)
                if member.isfile() and (match := NUMBERED.search(name.name)) and (not part or name.parent.name == part):
                    places[int(match[1])] = Place(path, member.offset_data, member.size)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise MediaError(f"{path}: not a plain tar: {error}") from error
    return places


def read_picture(sequence: PictureSequence, second: float, flags: int) -> NDArray[np.uint8]:
    """The picture shown at a second; before the first and after the last these two stay."""
    places = list_pictures(sequence.path, sequence.part)
    number = min(max(int(second * sequence.frames_hz + 1e-6) + 1, min(places)), max(places))
    if number not in places:
        raise MediaError(f"{sequence.path}: picture {number} is missing in {sequence.part or 'it'}")
    content = np.frombuffer(places[number].read(), np.uint8)
    picture = cv2.imdecode(content, flags) if len(content) else None
    if picture is None:
        raise MediaError(f"{sequence.path}: picture {number} cannot be decoded")
    return np.asarray(picture, np.uint8)


def read_picture_frames(sequence: PictureSequence, seconds: list[float], width: int, height: int) -> Pictures:
    """RGB pictures `(len(seconds), height, width, 3)`."""
    pictures = [read_picture(sequence, second, cv2.IMREAD_COLOR_RGB) for second in seconds]
    return np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures])


def read_picture_flow(
    sequence: PictureSequence, seconds: list[float], width: int, height: int, bound_pixels: float
) -> NDArray[np.float32]:
    """Flow `(len(seconds), height, width, 2)` from pairs of grey pictures in the folders `u` and `v`.

    128 is no motion, 0 and 255 are ∓`bound_pixels` of the stored picture; the result is in pixels of the asked size.
    """
    fields = []
    for second in seconds:
        axes = []
        for part, edge in (("u", width), ("v", height)):
            grey = read_picture(PictureSequence(sequence.path, sequence.frames_hz, part), second, cv2.IMREAD_GRAYSCALE)
            motion = (grey.astype(np.float32) - 127.5) * (bound_pixels / 127.5)
            scale = edge / grey.shape[1 if part == "u" else 0]
            axes.append(cv2.resize(motion, (width, height), interpolation=cv2.INTER_AREA) * scale)
        fields.append(np.stack(axes, -1))
    return np.stack(fields).astype(np.float32)
