"""Long recordings, window by window: video decoded once in order, windows in batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.reading import WITHOUT_CLOCK_SECONDS, read_source
from ..media.containers import MediaError
from ..media.duration import TABLES, has_clock, span_of_table
from ..media.live import FrameBuffer
from ..media.pictures import PictureSequence, is_depth, list_pictures, pictures_at
from ..media.probe import probe
from ..media.video import DecodedFrame, decode_from
from ..modalities import FROM_PICTURES, FROM_VIDEO, LiveReader, find_modality
from ..modalities.features import Features
from ..types import KarmmaError, Prediction, kind_of
from .recognition import Media, Recognition, Window, name_of

MOST_WINDOWS = 10_000_000  # a year of them every three seconds
AHEAD_SECONDS = 0.5  # decoded beyond a window's end: flow looks a step further
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


def count_windows(duration_seconds: float, window_seconds: float, hop_seconds: float) -> float:
    """How many windows a recording has, which may be more than anybody can list. Raises KarmmaError for spans of nothing."""
    if window_seconds <= 0 or hop_seconds <= 0:
        raise KarmmaError(f"window and hop must be longer than 0 seconds, not {window_seconds} and {hop_seconds}")
    return float(np.ceil(max(duration_seconds - window_seconds / 2, 1e-3) / hop_seconds))


def window_starts(duration_seconds: float, window_seconds: float, hop_seconds: float) -> list[float]:
    """Where windows begin; the last one may be cut short to no less than half its length. Raises KarmmaError for too many."""
    count = count_windows(duration_seconds, window_seconds, hop_seconds)
    if count > MOST_WINDOWS:
        raise KarmmaError(f"a hop of {hop_seconds:g} s makes {count:.3g} windows; no more than {MOST_WINDOWS:,} are cut")
    return [hop_seconds * number for number in range(int(count))]


class RecordingReader:
    """Windows of one recording in order of time. What is missing or broken is absent, and each window says what was broken."""

    def __init__(self, recognition: Recognition, file: Media | None, sources: Mapping[str, Media], horizon_seconds: float) -> None:
        self.recognition, self.name, self.files = recognition, name_of(file, sources), recognition.files_of(file, sources)
        found = recognition.span_of(file, self.files)
        self.timed, (self.start_seconds, self.stop_seconds) = found is not None, found or (0.0, WITHOUT_CLOCK_SECONDS)
        self.elsewhere = {name: words for name in self.files if self.timed and (words := self.other_clock(name))}
        self.doubted = recognition.doubts_of(self.files)
        self.failures: dict[str, str] = {}  # all that were met
        self.undecodable: dict[str, str] = {}  # from now on
        film = file if isinstance(file, Path) and probe(file).has_video else None  # numbered pictures are looked up one by one
        self.decoded = [name for name in FROM_PICTURES if film is not None and self.files.get(name) == film]
        sizes = [recognition.modalities_by_name[name].stored_size[::-1] for name in self.decoded]  # type: ignore[attr-defined]
        self.buffer = FrameBuffer(horizon_seconds + AHEAD_SECONDS, sizes)
        self.decoder: Iterator[DecodedFrame] = decode_from(film, 0.0) if film is not None and self.decoded else iter(())

    def spans(self, window_seconds: float, hop_seconds: float) -> list[tuple[float, float]]:
        """From when to when each window goes; one for all where no file tells the length. Raises KarmmaError for too many."""
        if not self.timed:
            return [(self.start_seconds, self.stop_seconds)]
        starts = window_starts(self.stop_seconds - self.start_seconds, window_seconds, hop_seconds)
        begins = [self.start_seconds + start for start in starts]
        return [(begin, min(begin + window_seconds, self.stop_seconds)) for begin in begins]

    def close(self) -> None:
        """Let go of the file."""
        if isinstance(self.decoder, Generator):
            self.decoder.close()

    def window(self, start_seconds: float, stop_seconds: float) -> Window:
        """The inputs of all modalities that are there."""
        self.decode_until(stop_seconds + AHEAD_SECONDS)
        inputs, unreadable = {}, self.undecodable | self.elsewhere
        for name, path in self.files.items():
            if name in self.elsewhere:
                continue
            modality = self.recognition.modalities_by_name[name]
            try:
                if not (isinstance(modality, Features) and modality.rate_hz is not None):
                    self.demand_clock(path, start_seconds, stop_seconds)
                if name in self.decoded and isinstance(modality, LiveReader):
                    stored = modality.read_live(self.buffer, start_seconds, stop_seconds)
                else:
                    stored = read_source(modality, path, start_seconds, stop_seconds)
            except MediaError as error:
                unreadable[name] = str(error)
                continue
            if stored is not None:
                inputs[name] = self.recognition.prepare(name, stored)
        self.failures |= unreadable
        return Window(inputs, self.name, start_seconds, stop_seconds, unreadable=unreadable, doubted=self.doubted)

    def other_clock(self, modality: str) -> str:
        """What is wrong with a file none of whose samples lies within the recording; nothing for others."""
        path, offset = self.files[modality], getattr(self.recognition.modalities_by_name[modality], "offset_seconds", 0.0)
        span = span_of_table(path) if isinstance(path, Path) and path.suffix.lower() in TABLES else None
        if span is None or (span[0] - offset <= self.stop_seconds and span[1] - offset >= self.start_seconds):
            return ""
        mine = f"{self.start_seconds:.2f} to {self.stop_seconds:.2f}"
        return f"{path}: its seconds go from {span[0]:.2f} to {span[1]:.2f}, the recording's from {mine}: another clock?"

    def demand_clock(self, path: Media, start_seconds: float, stop_seconds: float) -> None:
        """Raises MediaError for a file that does not say which part of it belongs to a window that is not the whole recording."""
        whole = (start_seconds, stop_seconds) == (self.start_seconds, self.stop_seconds)
        if not whole and isinstance(path, Path) and not has_clock(path):
            words = "has no clock, so that no windows can be cut out of it: it needs `seconds`, or give start and stop"
            raise MediaError(f"{path}: {words}")

    def decode_until(self, seconds: float) -> None:
        while self.buffer.newest_seconds <= seconds:
            try:
                frame = next(self.decoder, None)
            except MediaError as error:
                self.undecodable, self.decoder = dict.fromkeys(self.decoded, str(error)), iter(())
                return
            if frame is None:
                return
            self.buffer.push(frame.seconds, frame, frame.frame.width * frame.frame.height)


def predict_recording(
    recognition: Recognition, file: Media | None, sources: Mapping[str, Media], spans: tuple[float, float],
    only: Sequence[str] | None, batch_size: int,
) -> Iterator[Prediction]:  # fmt: skip
    """A prediction per window that has anything. Raises KarmmaError where no window has."""
    (window_seconds, hop_seconds), wanted = spans, recognition.wanted(only)
    reader = RecordingReader(recognition, file, sources, window_seconds)
    waiting, answered = list[Window](), False
    try:
        for start, stop in reader.spans(window_seconds, hop_seconds):
            window = reader.window(start, stop)
            if any(name in wanted for name in window.inputs):
                waiting.append(window)
            if len(waiting) == batch_size:
                yield from recognition.predict_windows(waiting, only)
                waiting, answered = [], True
    finally:
        reader.close()
    if waiting:
        yield from recognition.predict_windows(waiting, only)
    elif not answered:
        words = next(iter(reader.failures.values()), "none of the modalities is there")
        media = file or next(iter(sources.values()))
        where = str(media.path if isinstance(media, PictureSequence) else media)
        raise KarmmaError(words if where in words else f"{where}: {words}")


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


def files_by_modality(texts: Sequence[str]) -> dict[str, Path]:
    """Paths by modality from NAME=PATH. Raises KarmmaError for what is not of that form, or names no modality."""
    found = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator or not path:
            raise KarmmaError(f"--file {text!r} is not of the form NAME=PATH")
        find_modality(name, "--file")
        found[name] = Path(path)
    return found


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
        return [Recording(found, single | of_recording(found.path.stem, listed), str(found.path)) for found in sequences]
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
    word = next((word for word in words_and_suffixes(modality)[0] if path.stem.endswith(f"_{word}")), None)
    return path.stem if word is None else path.stem.removesuffix(f"_{word}")


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
