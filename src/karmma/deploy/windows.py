"""Long recordings, window by window: video decoded once in order, windows in batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..data.reading import WITHOUT_CLOCK_SECONDS, read_source
from ..media.containers import MediaError
from ..media.duration import TABLES, has_clock, span_of_table
from ..media.live import FrameBuffer
from ..media.pictures import PictureSequence
from ..media.probe import probe
from ..media.video import HELD_SECONDS, DecodedFrame, decode_from
from ..modalities import FROM_PICTURES, LiveReader
from ..modalities.features import Features
from ..types import KarmmaError, Prediction
from .recognition import Media, Recognition, Window, name_of

MOST_WINDOWS = 10_000_000  # a year of them every three seconds
AHEAD_SECONDS = 0.5  # decoded beyond a window's end: flow looks a step further


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
        self.last_seconds, self.step_seconds, self.ended = 0.0, 0.0, False  # of the film's last picture, behind the one before
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
        doubted = {**self.doubted, **self.doubt_end(stop_seconds)}
        return Window(inputs, self.name, start_seconds, stop_seconds, unreadable=unreadable, doubted=doubted)

    def doubt_end(self, stop_seconds: float) -> dict[str, str]:
        """What is said of pictures of a film that breaks off, or ends before its sound, well before a window does."""
        if not self.ended or stop_seconds <= self.last_seconds + max(HELD_SECONDS, 2 * self.step_seconds):
            return {}
        words = f"its pictures end at {self.last_seconds:.2f} s, the recording goes on to {self.stop_seconds:.2f} s"
        return {name: f"{self.files[name]}: {words}" for name in self.decoded}

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
                self.ended = True
                return
            self.step_seconds, self.last_seconds = frame.seconds - self.last_seconds, frame.seconds
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
