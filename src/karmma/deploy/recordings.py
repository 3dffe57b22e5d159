"""What belongs to a recording: media files, numbered pictures and files of sensors, found by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files import stem_of
from ..media.containers import MediaError
from ..media.pictures import PictureSequence, is_depth, list_pictures, pictures_at
from ..modalities import FROM_VIDEO, find_modality
from ..trees import pairs_of
from ..types import KarmmaError, Prediction, kind_of
from .recognition import Media, Recognition, name_of

FILES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # by modality: words that end names of its files, and suffixes
    "detections": (("boxes", "detections"), (".csv",)), "imu": (("imu", "inertial"), (".csv", ".mat")),
    "skeleton": (("skeleton",), (".npz", ".mat")), "hands": (("hands",), (".npz",)),
    "depth": (("depth",), (".npz", ".mat", ".mkv", ".mov")),
}  # fmt: skip
SENSOR_SUFFIXES = (".csv", ".npz", ".npy", ".mat")
MEDIA_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".wav", ".flac", ".m4a", ".mp3", ".ogg")


def words_and_suffixes(modality: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words that end the names of a modality's files, and their suffixes; other ones of a kind, features and sensors of other packages
    go by their names."""
    kind = kind_of(modality)
    suffixes = MEDIA_SUFFIXES if kind in FROM_VIDEO else FILES[kind][1] if kind in FILES else SENSOR_SUFFIXES
    return FILES.get(modality, ((modality,), suffixes))


@dataclass(frozen=True)
class Recording:
    """What is to be recognised: a media file, numbered pictures, or neither, and by modality what else belongs to it."""

    file: Media | None
    sources: dict[str, Media]
    name: str  # as answers say it

    @property
    def path(self) -> Path | None:
        """Of its media file or its pictures."""
        return self.file.path if isinstance(self.file, PictureSequence) else self.file

    @property
    def stem(self) -> str:
        """What files about it are called."""
        return self.name if self.path is None else stem_of(self.path)


def files_by_modality(texts: Sequence[str]) -> dict[str, Path]:
    """Paths by modality from NAME=PATH. Raises KarmmaError for what is not of that form, or names no modality."""
    found = pairs_of("--file", texts, "PATH")
    for name in found:
        find_modality(name, "--file")
    return {name: Path(path) for name, path in found.items()}


def find_recordings(paths: Sequence[Path], sources: Mapping[str, Path], pictures_hz: float | None = None) -> list[Recording]:
    """Media files among files and directories; a directory in `sources` has a file of the recording's name for each.

    With `pictures_hz` they are folders and tars of pictures that were taken so many times a second, and directories of these; so may
    those of `sources` be. Without any paths a recording is what files of one name there are in the directories of `sources`. Raises
    KarmmaError for a path that is not there, or if nothing is found.
    """
    for path in (*paths, *sources.values()):
        if not path.exists():
            raise KarmmaError(f"{path}: no such file or directory")
    single: dict[str, Media] = {name: path for name, path in sources.items() if not path.is_dir()}
    if pictures_hz is not None:
        single |= {name: pictures_at(path, pictures_hz) for name, path in sources.items() if has_pictures(path)}
    listed = {name: files_by_recording(name, path, pictures_hz) for name, path in sources.items() if name not in single}
    if not paths:
        return recordings_without_media(single, listed)
    if pictures_hz is not None:
        sequences = [sequence for path in paths for sequence in find_pictures(path, pictures_hz)]
        return [Recording(found, single | of_recording(stem_of(found.path), listed), str(found.path)) for found in sequences]
    files = []
    for path in paths:
        found = [entry for entry in sorted(path.rglob("*")) if entry.suffix.lower() in MEDIA_SUFFIXES] if path.is_dir() else [path]
        if not found and has_pictures(path):
            raise KarmmaError(f"{path}: numbered pictures; how many were taken per second says --pictures-hz")
        if not found:
            raise KarmmaError(f"{path}: no media files in it ({', '.join(MEDIA_SUFFIXES)})")
        if path.suffix.lower() in SENSOR_SUFFIXES:
            raise KarmmaError(f"{path}: a sensor's file goes by its option: --boxes, --imu, --skeleton, --hands, --depth or --file")
        files += found
    return [Recording(file, single | of_recording(file.stem, listed), str(file)) for file in files]


def has_pictures(path: Path) -> bool:
    """Whether a folder or tar holds numbered pictures itself."""
    if path.is_file() and path.suffix.lower() != ".tar":
        return False
    try:
        return bool(len(list_pictures(path).numbers))
    except MediaError:
        return False


def find_pictures(path: Path, frames_hz: float) -> list[PictureSequence]:
    """A folder's or tar's; of a directory of folders and tars, those of each that has a camera's.

    Raises KarmmaError where there are none, and for depth.
    """
    if path.is_dir() and not has_pictures(path):
        listed = [pictures_at(entry, frames_hz) for entry in sorted(path.glob("[!.]*")) if has_pictures(entry)]
        found = [sequence for sequence in listed if not is_depth(sequence)]
        if not found:
            raise KarmmaError(f"{path}: no numbered pictures of a camera in it, nor in folders or tars in it")
        return found
    sequence = pictures_at(path, frames_hz)
    if is_depth(sequence):
        raise KarmmaError(f"{path}: 16-bit grey pictures are depth; they go by --depth")
    return [sequence]


def recordings_without_media(single: dict[str, Media], listed: Mapping[str, Mapping[str, Media]]) -> list[Recording]:
    """A recording for each name in the directories; one of the single files alone if there are no directories."""
    if not listed:
        modality, file = next(iter(single.items()), ("", None))
        return [Recording(None, single, recording_name(modality, file) if isinstance(file, Path) else name_of(None, single))]
    names = sorted({name for files in listed.values() for name in files})
    if not names:
        wanted = "; ".join(f"{name}: {', '.join(words_and_suffixes(name)[1])}" for name in listed)
        raise KarmmaError(f"no files in the directories given ({wanted})")
    return [Recording(None, single | of_recording(name, listed), name) for name in names]


def of_recording(name: str, listed: Mapping[str, Mapping[str, Media]]) -> dict[str, Media]:
    return {modality: files[name] for modality, files in listed.items() if name in files}


def files_by_recording(modality: str, directory: Path, pictures_hz: float | None = None) -> dict[str, Media]:
    """The files of one modality by the names of their recordings: `NAME.csv`, or with a word for the modality `NAME_imu.csv`; with
    `pictures_hz` folders and tars of numbered pictures, too."""
    paths = sorted(directory.glob("[!.]*"))
    files = [path for path in paths if path.suffix.lower() in words_and_suffixes(modality)[1]]
    found: dict[str, Media] = {recording_name(modality, path): path for path in files}
    if pictures_hz is not None:
        found |= {recording_name(modality, path): pictures_at(path, pictures_hz) for path in paths if has_pictures(path)}
    return found


def recording_name(modality: str, path: Path) -> str:
    """What the recording is called that a file of a modality belongs to: as the file, but for a word for the modality."""
    stem = stem_of(path)
    word = next((word for word in words_and_suffixes(modality)[0] if stem.endswith(f"_{word}")), None)
    return stem if word is None else stem.removesuffix(f"_{word}")


def recognise(
    recognition: Recognition, recording: Recording, segment: tuple[float | None, float | None], window_seconds: float | None,
    hop_seconds: float | None, only: Sequence[str] | None,
) -> Iterator[Prediction]:  # fmt: skip
    """Predictions of a recording's windows, or of one `segment` (start, stop) of it if either end is given."""
    start, stop = segment
    if start is None and stop is None:
        yield from recognition.predict_file(
            recording.file, recording.sources, window_seconds=window_seconds, hop_seconds=hop_seconds, only=only
        )
        return
    window = recognition.read_window(recording.file, start, stop, recording.sources)
    yield recognition.predict_windows([window], only)[0]
