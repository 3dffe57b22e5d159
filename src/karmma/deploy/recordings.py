"""Long recordings, window by window: video decoded once in order, windows in batches; answers as rows of JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..media.containers import MediaError
from ..media.live import FrameBuffer
from ..media.probe import MediaInfo, probe
from ..media.video import DecodedFrame, decode_from
from ..modalities import LiveReader
from ..types import KarmmaError, Prediction
from .recognition import Recognition, Window

FROM_FRAMES = ("rgb", "flow")
AHEAD_SECONDS = 0.5  # decoded beyond a window's end: flow looks a step further
MEDIA_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".wav", ".flac", ".m4a", ".mp3", ".ogg")


def window_starts(duration_seconds: float, window_seconds: float, hop_seconds: float) -> list[float]:
    """Where windows begin; the last one may be cut short to no less than half its length."""
    if window_seconds <= 0 or hop_seconds <= 0:
        raise KarmmaError(f"window and hop must be longer than 0 seconds, not {window_seconds} and {hop_seconds}")
    return [float(start) for start in np.arange(0, max(duration_seconds - window_seconds / 2, 1e-3), hop_seconds)]


class RecordingReader:
    """Windows of one recording in order of time. What is missing or broken is absent; `failures` keeps the words."""

    def __init__(self, recognition: Recognition, file: Path, sources: Mapping[str, Path], horizon_seconds: float) -> None:
        self.recognition, self.name, self.files = recognition, file.name, recognition.files_of(file, sources)
        self.info: MediaInfo = probe(file)
        self.failures: dict[str, str] = {}
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
        inputs = {}
        for name, path in self.files.items():
            modality = self.recognition.modalities_by_name[name]
            try:
                if name in FROM_FRAMES and isinstance(modality, LiveReader):
                    stored = modality.read_live(self.buffer, start_seconds, stop_seconds)
                else:
                    stored = modality.read(path, start_seconds, stop_seconds)
            except MediaError as error:
                self.failures[name] = str(error)
                continue
            if stored is not None:
                inputs[name] = self.recognition.prepare(name, stored)
        return Window(inputs, self.name, start_seconds, stop_seconds)

    def decode_until(self, seconds: float) -> None:
        while self.buffer.newest_seconds <= seconds:
            try:
                frame = next(self.decoder, None)
            except MediaError as error:
                self.failures["rgb"], self.decoder = str(error), iter(())
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


def prediction_row(prediction: Prediction, top: int, file: str = "") -> dict[str, Any]:
    """One prediction as JSON: seconds, top classes with probabilities per label set, modalities used."""
    heads = {
        head: {entry.name: round(entry.probability, 4) for entry in ranked[:top]} for head, ranked in prediction.ranked.items()
    }
    seconds = {"start_seconds": round(prediction.start_seconds, 3), "stop_seconds": round(prediction.stop_seconds, 3)}
    return {**({"file": file} if file else {}), **seconds, **heads, "modalities": list(prediction.modalities)}


def csv_header(heads: Sequence[str], top: int) -> list[str]:
    ranks = [f"{head}_{place}{what}" for head in heads for place in range(1, top + 1) for what in ("", "_probability")]
    return ["file", "start_seconds", "stop_seconds", *ranks, "modalities"]


def csv_line(prediction: Prediction, top: int, file: str) -> str:
    """One prediction as a line of CSV: top classes with probabilities side by side."""
    cells: list[Any] = [file, f"{prediction.start_seconds:.3f}", f"{prediction.stop_seconds:.3f}"]
    for ranked in prediction.ranked.values():
        for place in range(top):
            cells += [ranked[place].name, f"{ranked[place].probability:.4f}"] if place < len(ranked) else ["", ""]
    return csv_text([*cells, "+".join(prediction.modalities)])


def csv_text(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def prediction_lines(predictions: Iterator[Prediction], top: int, how: str, file: str = "") -> Iterator[str]:
    """Lines for people (`text`), one JSON object per prediction (`json`), or CSV with a header (`csv`)."""
    first = True
    for prediction in predictions:
        if how == "json":
            yield json.dumps(prediction_row(prediction, top, file))
        elif how == "csv":
            if first:
                yield csv_text(csv_header(list(prediction.ranked), top))
            yield csv_line(prediction, top, file)
        else:
            yield f"{prediction.start_seconds:.2f}–{prediction.stop_seconds:.2f} s, from {' + '.join(prediction.modalities)}"
            for head, ranked in prediction.ranked.items():
                yield f"  {head:<8}" + "   ".join(f"{entry.name} {100 * entry.probability:.0f} %" for entry in ranked[:top])
        first = False
