"""Long recordings, window by window: video decoded once in order, windows in batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..media.containers import MediaError
from ..media.live import FrameBuffer
from ..media.probe import MediaInfo, probe
from ..media.video import DecodedFrame, decode_from
from ..modalities import LiveReader
from ..types import KarmmaError, Prediction
from .recognition import Recognition, Window

FROM_FRAMES = ("rgb", "flow")
MOST_WINDOWS = 10_000_000  # a year of them every three seconds
AHEAD_SECONDS = 0.5  # decoded beyond a window's end: flow looks a step further
MEDIA_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".wav", ".flac", ".m4a", ".mp3", ".ogg")


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

    def __init__(self, recognition: Recognition, file: Path, sources: Mapping[str, Path], horizon_seconds: float) -> None:
        self.recognition, self.name, self.files = recognition, file.name, recognition.files_of(file, sources)
        self.info: MediaInfo = probe(file)
        self.failures: dict[str, str] = {}  # all that were met
        self.undecodable: dict[str, str] = {}  # from now on
        wanted = [name for name in FROM_FRAMES if name in self.files and self.info.has_video]
        sizes = [recognition.modalities_by_name[name].stored_size[::-1] for name in wanted]  # type: ignore[attr-defined]
        self.buffer = FrameBuffer(horizon_seconds + AHEAD_SECONDS, sizes)
        self.decoder: Iterator[DecodedFrame] = decode_from(file, 0.0) if wanted else iter(())

    def close(self) -> None:
        """Let go of the file."""
        if isinstance(self.decoder, Generator):
            self.decoder.close()

    def window(self, start_seconds: float, stop_seconds: float) -> Window:
        """The inputs of all modalities that are there."""
        self.decode_until(stop_seconds + AHEAD_SECONDS)
        inputs, unreadable = {}, dict(self.undecodable)
        for name, path in self.files.items():
            modality = self.recognition.modalities_by_name[name]
            try:
                if name in FROM_FRAMES and isinstance(modality, LiveReader):
                    stored = modality.read_live(self.buffer, start_seconds, stop_seconds)
                else:
                    stored = modality.read(path, start_seconds, stop_seconds)
            except MediaError as error:
                unreadable[name] = str(error)
                continue
            if stored is not None:
                inputs[name] = self.recognition.prepare(name, stored)
        self.failures |= unreadable
        return Window(inputs, self.name, start_seconds, stop_seconds, unreadable=unreadable)

    def decode_until(self, seconds: float) -> None:
        while self.buffer.newest_seconds <= seconds:
            try:
                frame = next(self.decoder, None)
            except MediaError as error:
                self.undecodable, self.decoder = {name: str(error) for name in FROM_FRAMES if name in self.files}, iter(())
                return
            if frame is None:
                return
            self.buffer.push(frame.seconds, frame, frame.frame.width * frame.frame.height)


def predict_recording(
    recognition: Recognition, file: Path, sources: Mapping[str, Path], spans: tuple[float, float],
    only: Sequence[str] | None, batch_size: int,
) -> Iterator[Prediction]:  # fmt: skip
    """A prediction per window that has anything. Raises KarmmaError where no window has."""
    (window_seconds, hop_seconds), wanted = spans, recognition.wanted(only)
    reader = RecordingReader(recognition, file, sources, window_seconds)
    duration = reader.info.duration_seconds
    waiting, answered = list[Window](), False
    try:
        for start in window_starts(duration, window_seconds, hop_seconds):
            window = reader.window(start, min(start + window_seconds, duration))
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
        raise KarmmaError(words if str(file) in words else f"{file}: {words}")


@dataclass(frozen=True)
class Recording:
    """A file to be recognised and, by modality, what else belongs to it."""

    file: Path
    sources: dict[str, Path]


def find_recordings(paths: Sequence[Path], sources: Mapping[str, Path]) -> list[Recording]:
    """Media files among files and directories; a directory in `sources` has `<name of the recording>.csv` for each.

    Raises KarmmaError for a path that is not there, or if nothing is found.
    """
    files = []
    for path in paths:
        if not path.exists():
            raise KarmmaError(f"{path}: no such file or directory")
        found = [entry for entry in sorted(path.rglob("*")) if entry.suffix.lower() in MEDIA_SUFFIXES] if path.is_dir() else [path]
        if not found:
            raise KarmmaError(f"{path}: no media files in it ({', '.join(MEDIA_SUFFIXES)})")
        files += found
    return [Recording(file, sources_of(file, sources)) for file in files]


def sources_of(file: Path, sources: Mapping[str, Path]) -> dict[str, Path]:
    places = {name: path / f"{file.stem}.csv" if path.is_dir() else path for name, path in sources.items()}
    return {name: path for name, path in places.items() if not sources[name].is_dir() or path.is_file()}


def recognise(
    recognition: Recognition, recording: Recording, segment: tuple[float | None, float | None], window_seconds: float,
    hop_seconds: float | None, only: Sequence[str] | None,
) -> Iterator[Prediction]:  # fmt: skip
    """Predictions of a recording's windows, or of one `segment` (start, stop) of it if either end is given."""
    start, stop = segment
    if start is None and stop is None:
        yield from recognition.predict_file(
            recording.file, recording.sources, window_seconds=window_seconds, hop_seconds=hop_seconds, only=only
        )
        return
    yield recognition.predict(recording.file, start_seconds=start, stop_seconds=stop, only=only, sources=recording.sources)
