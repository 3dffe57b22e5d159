"""Videos that somebody has cut into numbered pictures: a folder or a tar of JPEGs, as EPIC-KITCHENS and others distribute them."""

from __future__ import annotations

import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .containers import MediaError
from .depth_pictures import thinned
from .flow import Preset, compute_flows
from .kept import KeptFiles
from .video import HELD_SECONDS, Pictures

FLOW = "u"  # part of a sequence that is motion somebody has computed
ODD_SECONDS, ODD_SHARE = 0.4, 0.0003  # by which pictures may be longer or shorter than their film: EPIC's are by 0.2 s
NUMBERED = re.compile(r"(\d+)\.(jpe?g|png)$", re.IGNORECASE)


@dataclass(frozen=True)
class PictureSequence:
    """Numbered pictures below `path` (a folder or a .tar), `frames_hz` of them per second; `first_number` is shown at second 0.

    `part` is the folder within, empty for pictures that lie directly there; of flow it is `u` (`FLOW`), and `v` has as many. Of these,
    where whoever made them says so: 0 and 255 are a motion of ∓`bound_pixels` within `motion_seconds`. `film_seconds`: how long the
    film is that they were cut from, where somebody says so.
    """

    path: Path
    frames_hz: float
    part: str = ""
    bound_pixels: float | None = None
    motion_seconds: float | None = None
    film_seconds: float | None = None
    first_number: int = 1

    def is_file(self) -> bool:
        """Whether there is anything; named as of a path, because it stands where a path may."""
        return self.path.exists()

    def number_at(self, second: float) -> int:
        """Of the picture shown at a second, whether or not there is one."""
        return int(second * self.frames_hz + 1e-6) + self.first_number

    def second_of(self, number: int) -> float:
        """At which a picture begins to be shown."""
        return (number - self.first_number) / self.frames_hz


@dataclass(frozen=True)
class NumberedPictures:
    """Where pictures lie, in as few bytes as hundreds of archives of a hundred thousand need: by rising number, in a tar from
    which byte on and how many, in a folder under which name."""

    path: Path
    numbers: NDArray[np.int64]
    offsets: NDArray[np.int64] | None = None
    sizes: NDArray[np.int32] | None = None
    names: NDArray[np.bytes_] | None = None

    def within(self, number: int) -> int:
        """The number, or that of the first or last picture: before and after them these two stay."""
        return min(max(number, int(self.numbers[0])), int(self.numbers[-1]))

    def read(self, number: int) -> bytes:
        """The bytes of a picture. Raises MediaError if it is not there."""
        place = int(np.searchsorted(self.numbers, number))
        if place == len(self.numbers) or self.numbers[place] != number:
            raise MediaError(f"{self.path}: picture {number} is missing")
        try:
            if self.names is not None:
                return (self.path / self.names[place].decode()).read_bytes()
            assert self.offsets is not None and self.sizes is not None
            with self.path.open("rb") as file:
                file.seek(int(self.offsets[place]))
                return file.read(int(self.sizes[place]))
        except OSError as error:
            raise MediaError(f"{self.path}: picture {number}: {error.strerror}") from error


TARS: KeptFiles[dict[str, NumberedPictures]] = KeptFiles(1024)  # listing one takes seconds, a list of 100,000 two megabytes
FOLDERS: KeptFiles[NumberedPictures] = KeptFiles(128)


def list_pictures(path: Path, part: str = "") -> NumberedPictures:
    """The pictures of a folder or tar, or of a folder within. Raises MediaError for a missing or broken one, or one without any."""
    if (path / part).is_dir():
        return FOLDERS.get(path / part, None, lambda: list_folder(path / part))
    if not path.exists():
        raise MediaError(f"{path}: no such file or folder")
    parts = TARS.get(path, None, lambda: list_tar(path)) if path.is_file() else {}
    if not part and len(parts) == 1:  # all in one folder of the tar, whatever it is called
        return next(iter(parts.values()))
    if part not in parts:
        raise MediaError(f"{path}: no numbered pictures in {part or 'it'}")
    return parts[part]


def pictures_at(path: Path, frames_hz: float) -> PictureSequence:
    """A folder or tar of pictures taken so many times a second, the first of which is shown at second 0. Raises MediaError."""
    return PictureSequence(path, frames_hz, first_number=int(list_pictures(path).numbers[0]))


def is_depth(sequence: PictureSequence) -> bool:
    """Whether the first picture is 16-bit grey, as depth is and no camera's picture. Raises MediaError."""
    pictures = list_pictures(sequence.path, sequence.part)
    first = cv2.imdecode(np.frombuffer(pictures.read(int(pictures.numbers[0])), np.uint8), cv2.IMREAD_UNCHANGED)
    return first is not None and is_grey16(first)


def is_grey16(picture: NDArray[Any]) -> bool:
    return picture.dtype == np.uint16 and picture.ndim == 2


def length_of_pictures(sequence: PictureSequence) -> float:
    """Seconds until the last picture is no longer shown. Raises MediaError."""
    return sequence.second_of(int(list_pictures(sequence.path, sequence.part).numbers[-1]) + 1)


def doubt_pictures(sequence: PictureSequence) -> str:
    """What speaks against the rate of pictures: that they last longer or shorter than their film. Raises MediaError."""
    seconds, film_seconds = length_of_pictures(sequence), sequence.film_seconds
    if film_seconds is None or abs(seconds - film_seconds) <= max(ODD_SECONDS, ODD_SHARE * film_seconds):
        return ""
    rate = f"{round(seconds * sequence.frames_hz)} pictures at {sequence.frames_hz:g} a second"
    return f"{rate} last {seconds:.1f} s, their film {film_seconds:.1f} s: were they cut at another rate?"


def number_of(name: str) -> int | None:
    """Of a numbered picture; None for other files and for those that a Mac leaves beside each (`._frame_1.jpg`)."""
    match = None if name.startswith(".") else NUMBERED.search(name)
    return int(match[1]) if match else None


def list_folder(folder: Path) -> NumberedPictures:
    found = sorted((number, file.name) for file in folder.iterdir() if (number := number_of(file.name)) is not None)
    if not found:
        raise MediaError(f"{folder}: no numbered pictures in it")
    numbers, names = zip(*found, strict=True)
    return NumberedPictures(folder, np.array(numbers, np.int64), names=np.array([name.encode() for name in names]))


def list_tar(path: Path) -> dict[str, NumberedPictures]:
    """The pictures of a tar by the folder they lie in; all in one pass, since a tar has no table of what is in it."""
    found: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if member.isfile() and (number := number_of(name.name)) is not None:
                    found[name.parent.name].append((number, member.offset_data, member.size))
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep all it has seen
    except (tarfile.TarError, OSError, EOFError) as error:
        raise MediaError(f"{path}: not a plain tar: {error}") from error
    parts = {}
    for part, places in found.items():
        numbers, offsets, sizes = np.array(sorted(places), np.int64).T
        parts[part] = NumberedPictures(path, numbers, offsets, sizes.astype(np.int32))
    return parts


def read_pictures_at(sequence: PictureSequence, seconds: Sequence[float], flags: int, part: str = "") -> Iterator[NDArray[Any]]:
    """The pictures shown at those rising seconds, as they are stored. Raises MediaError naming what is missing or broken."""
    pictures = list_pictures(sequence.path, part or sequence.part)
    last_seconds = sequence.second_of(int(pictures.numbers[-1]))
    if seconds[0] > last_seconds + HELD_SECONDS:
        raise MediaError(f"{sequence.path}: no picture at {seconds[0]:.2f} s, the last one is at {last_seconds:.2f} s")
    for second in seconds:
        number = pictures.within(sequence.number_at(second))
        content = np.frombuffer(pictures.read(number), np.uint8)
        picture = cv2.imdecode(content, flags) if len(content) else None
        if picture is None:
            raise MediaError(f"{sequence.path}: picture {number} cannot be decoded")
        yield picture


def read_picture_frames(sequence: PictureSequence, seconds: Sequence[float], width: int, height: int) -> Pictures:
    """RGB pictures `(len(seconds), height, width, 3)`."""
    pictures = read_pictures_at(sequence, seconds, cv2.IMREAD_COLOR_RGB)
    return np.stack([cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) for picture in pictures])


def read_picture_depths(sequence: PictureSequence, seconds: Sequence[float]) -> NDArray[np.uint16]:
    """Depth in millimetres, 0 where nothing was measured, thinned if pictures are large: `(len(seconds), height, width)`.

    Raises MediaError for pictures that are not 16-bit grey, too.
    """
    pictures = []
    for picture in read_pictures_at(sequence, seconds, cv2.IMREAD_UNCHANGED):
        if not is_grey16(picture):
            raise MediaError(f"{sequence.path}: pictures are {picture.dtype} {picture.shape}, expected 16-bit grey in millimetres")
        pictures.append(thinned(picture))
    return np.stack(pictures)


def compute_picture_flow(
    sequence: PictureSequence, seconds: Sequence[float], width: int, height: int, step_seconds: float, preset: Preset
) -> NDArray[np.float32]:
    """Motion within `step_seconds` between pictures of the camera, `(len(seconds), height, width, 2)`, in pixels of that size."""
    return compute_flows(lambda both: read_picture_frames(sequence, both, width, height), seconds, step_seconds, preset)


def read_picture_flow(
    sequence: PictureSequence, seconds: Sequence[float], width: int, height: int, bound_pixels: float, step_seconds: float
) -> NDArray[np.float32]:
    """Motion within `step_seconds`, `(len(seconds), height, width, 2)`, from pairs of grey pictures in the folders `u` and `v`.

    127.5 is no motion, 0 and 255 are ∓`bound_pixels` of the stored picture, within `step_seconds`, unless the sequence says
    another bound and time: then motion is taken to be even within a step. The result is in pixels of the asked size.
    """
    bound = sequence.bound_pixels or bound_pixels
    pace = step_seconds / (sequence.motion_seconds or step_seconds)
    axes = []
    for part, edge, side in (("u", width, 1), ("v", height, 0)):
        motions = []
        for grey in read_pictures_at(sequence, seconds, cv2.IMREAD_GRAYSCALE, part):
            motion = (grey.astype(np.float32) - 127.5) * (bound / 127.5 * pace * edge / grey.shape[side])
            motions.append(cv2.resize(motion, (width, height), interpolation=cv2.INTER_AREA))
        axes.append(np.stack(motions))
    return np.stack(axes, -1).astype(np.float32)
