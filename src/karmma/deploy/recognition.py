"""What a loaded student offers, whatever runs it (torch, ONNX Runtime, OpenVINO). Nothing here needs torch."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data.manifest import Segment
from ..data.reading import WITHOUT_CLOCK_SECONDS, doubt_source, read_segment
from ..media.containers import MediaError
from ..media.duration import find_span
from ..media.pictures import PictureSequence, length_of_pictures
from ..modalities import FROM_PICTURES, FROM_VIDEO, Modality, find_modality
from ..modalities.base import offsets_of
from ..types import Clip, KarmmaError, LabelSpace, ModalitySpec, Prediction, Ranked

if TYPE_CHECKING:
    from .sensors import Sensor
    from .session import StreamConfig
    from .stream import LiveStream

MOST_WINDOW_SECONDS = 60.0
ACTION, TOP = "action", 5
UNMET = "no training clip had this sensor, so that nothing is known of it"
LEAST_WINDOW_SECONDS = 2.0  # unless a shorter one is asked for
Arrays = dict[str, NDArray[np.float32]]
Media = Path | PictureSequence  # a film or a sound, or the numbered pictures of a film


@dataclass(frozen=True)
class Window:
    """A stretch of time with the model inputs of the modalities that are there, each `spec.input_shape`.

    `encoded`: instead of model inputs, extractor tokens `(tokens, width)` that `Recognition.encode` gave. `unreadable`: the
    words of readers that failed, by modality; `doubted`: what speaks against the content of files that could be read.
    """

    inputs: Arrays
    name: str = ""
    start_seconds: float = 0.0
    stop_seconds: float = 0.0
    encoded: bool = False
    unreadable: Mapping[str, str] = field(default_factory=dict)
    doubted: Mapping[str, str] = field(default_factory=dict)


class Recognition(ABC):
    """Labels, modalities and preprocessing around something that turns model inputs into logits."""

    labels: LabelSpace
    specs: Mapping[str, ModalitySpec]
    modalities_by_name: Mapping[str, Modality]
    provenance: Mapping[str, Any]

    @property
    def window_seconds(self) -> float:
        """How long windows are if nobody says: as the clips that the student learnt from, within two seconds and a minute."""
        clip_seconds = self.provenance.get("clip_seconds")
        if not isinstance(clip_seconds, int | float) or not math.isfinite(clip_seconds):
            return LEAST_WINDOW_SECONDS
        return float(min(max(clip_seconds, LEAST_WINDOW_SECONDS), MOST_WINDOW_SECONDS))

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.specs)

    @abstractmethod
    def run(self, inputs: Arrays, present: Mapping[str, NDArray[np.bool_]]) -> Arrays:
        """Logits `(batch, classes)` per label set of inputs `(batch, …)`; presence `(batch,)` of every modality.

        A modality nobody has may be missing from `inputs`; the content of absent slots has no meaning.
        """

    @abstractmethod
    def encode(self, modality: str, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Extractor tokens `(batch, tokens, width)` of one modality's inputs `(batch, …)`: the costly half of `run`."""

    @abstractmethod
    def fuse(self, tokens: Arrays, present: Mapping[str, NDArray[np.bool_]]) -> Arrays:
        """The other half: logits as of `run`, from tokens in place of inputs."""

    @abstractmethod
    def prepare(self, modality: str, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Model input of one stored clip."""

    def predict(
        self,
        source: str | Media | Clip | Mapping[str, Any],
        *,
        start_seconds: float | None = None,
        stop_seconds: float | None = None,
        only: Sequence[str] | None = None,
        sources: Mapping[str, Media] | None = None,
    ) -> Prediction:
        """Recognise one segment.

        `source` is a media file (the whole of it, or from start to stop), a `PictureSequence`, a `Clip` of model inputs, or a
        mapping from modality to a model input array, or to a file of its own. `sources` names further files by modality (`detections`,
        `imu`, `skeleton`, `depth`); `only` restricts which modalities are used. Raises KarmmaError if none is left.
        """
        if isinstance(source, Clip):
            window = self.window_of(source.data, source.name, source.start_seconds, source.stop_seconds)
        elif isinstance(source, Mapping) and any(isinstance(value, str | Media) for value in source.values()):
            window = self.read_window(None, start_seconds, stop_seconds, {**source, **(sources or {})})
        elif isinstance(source, Mapping):
            window = self.window_of(source)
        else:
            window = self.read_window(media_of(source), start_seconds, stop_seconds, sources or {})
        return self.predict_windows([window], only)[0]

    def with_clock_ahead(self, modality: str, seconds: float) -> Self:
        """The same student for recordings in which a sensor's clock is so far ahead, whatever the recipe said of it.

        Raises KarmmaError for a modality that it does not have, or whose clock cannot be set: only the imu's can.
        """
        (name,), modalities = self.wanted([modality]), self.modalities_by_name
        if not hasattr(modalities[name], "offset_seconds") or not math.isfinite(seconds):
            raise KarmmaError(f"{name}: its clock cannot be set {seconds:g} s ahead; only an imu's can, by a finite number")
        shifted: Any = modalities[name]
        other = copy.copy(self)
        object.__setattr__(other, "modalities_by_name", {**modalities, name: replace(shifted, offset_seconds=seconds)})
        return other

    def window_of(self, arrays: Mapping[str, Any], name: str = "", start: float = 0.0, stop: float = 0.0) -> Window:
        """Model inputs, checked. Raises KarmmaError for an unknown modality, another shape or values that are no numbers."""
        inputs = {}
        for modality, array in arrays.items():
            if modality not in self.modalities:
                raise KarmmaError(f"unknown modality {modality!r}; this checkpoint has: {', '.join(self.modalities)}")
            value, spec = np.asarray(array, np.float32), self.specs[modality]
            if value.shape != spec.input_shape:
                raise KarmmaError(f"{modality}: shape {value.shape}, expected {spec.input_shape} ({spec.layout})")
            if not np.isfinite(value).all():
                raise KarmmaError(f"{modality}: values must be finite numbers")
            inputs[modality] = value
        return Window(inputs, name, start, stop)

    def read_window(
        self, file: Media | None, start_seconds: float | None, stop_seconds: float | None, sources: Mapping[str, Media]
    ) -> Window:
        """Read one segment of a recording: of a media file, of `sources` by modality, or of both; what is not there is absent."""
        files, name = self.files_of(file, sources), name_of(file, sources)
        start, stop = start_seconds if start_seconds is not None or file is None else 0.0, stop_seconds
        if start is None or stop is None:
            first, last = self.span_of(file, files) or (0.0, (start or 0.0) + WITHOUT_CLOCK_SECONDS)
            start, stop = first if start is None else start, last if stop is None else stop
        if stop <= start:
            raise KarmmaError(f"{name}: stop {stop:.2f} s does not lie after start {start:.2f} s")
        reading = read_segment(Segment(name, "", start, stop, {}, files), self.modalities_by_name)
        if reading.failures and not reading.arrays:
            raise MediaError(next(iter(reading.failures.values())))
        inputs = {name: self.prepare(name, array) for name, array in reading.arrays.items()}
        return Window(inputs, name, start, stop, unreadable=reading.failures, doubted=self.doubts_of(files))

    def span_of(self, file: Media | None, files: Mapping[str, Media]) -> tuple[float, float] | None:
        """From when to when a recording goes: its media file, or without one what there is; None where nothing tells."""
        pictures = [source for source in ([file] if file else files.values()) if isinstance(source, PictureSequence)]
        if pictures:
            return 0.0, max(length_of_pictures(sequence) for sequence in pictures)
        paths = {name: path for name, path in files.items() if isinstance(path, Path)}
        return find_span([file] if isinstance(file, Path) else paths.values(), offsets_of(paths, self.modalities_by_name))

    def doubts_of(self, files: Mapping[str, Media]) -> dict[str, str]:
        """By modality, what speaks against the content of a file; nothing of those that cannot be read at all."""
        found = {name: words for name, file in files.items() if (words := doubt_source(self.modalities_by_name[name], file))}
        return found | {name: UNMET for name in files if self.is_unmet(name)}

    def is_unmet(self, modality: str) -> bool:
        """Whether no training clip had a modality, so that what this student makes of it means nothing."""
        counts = self.provenance.get("train_clips")
        return isinstance(counts, Mapping) and counts.get(modality) == 0

    def files_of(self, file: Media | None, sources: Mapping[str, Media]) -> dict[str, Media]:
        """Where each modality of this student would lie. Raises KarmmaError for a file that is not there."""
        files = {} if file is None else dict.fromkeys(FROM_VIDEO if isinstance(file, Path) else FROM_PICTURES, file)
        files |= {name: media_of(path) for name, path in sources.items()}
        for name, path in files.items():
            if name not in self.modalities:  # those it has are known: nobody looks through installed packages for them each time
                find_modality(name, name_of(file, sources))
            if not path.is_file():
                raise KarmmaError(f"{path.path if isinstance(path, PictureSequence) else path}: no such file")
        return {name: path for name, path in files.items() if name in self.modalities}

    def wanted(self, only: Sequence[str] | None) -> tuple[str, ...]:
        """The modalities to use. Raises KarmmaError for one that this student does not have."""
        for name in only or ():
            if name not in self.modalities:
                raise KarmmaError(f"unknown modality {name!r}; this checkpoint has: {', '.join(self.modalities)}")
        return self.modalities if only is None else tuple(only)

    def predict_windows(self, windows: Sequence[Window], only: Sequence[str] | None = None) -> list[Prediction]:
        """Recognise several windows, all encoded or none, as one batch.

        Raises KarmmaError for one that has none of the wanted modalities.
        """
        wanted = self.wanted(only)
        rows = [{name: value for name, value in window.inputs.items() if name in wanted} for window in windows]
        for window, row in zip(windows, rows, strict=True):
            if not row:
                raise KarmmaError(f"{window.name or 'clip'}: none of the modalities {', '.join(wanted)} is there")
        if len({window.encoded for window in windows}) > 1:
            raise ValueError("windows of model inputs and encoded windows in one batch")
        recognise = self.fuse if windows and windows[0].encoded else self.run
        logits = recognise(*stacked(rows, self.modalities)) if rows else {}
        return [
            self.prediction(window, tuple(row), {head: values[index] for head, values in logits.items()})
            for index, (window, row) in enumerate(zip(windows, rows, strict=True))
        ]

    def predict_subsets(self, window: Window, subsets: Sequence[Sequence[str]]) -> list[Prediction]:
        """One window under several subsets of its modalities; extractors run once."""
        tokens = {name: self.encode(name, value[None])[0] for name, value in window.inputs.items()}
        encoded = replace(window, inputs=tokens, encoded=True)
        return self.predict_windows([replace(encoded, inputs={n: tokens[n] for n in subset}) for subset in subsets])

    def prediction(self, window: Window, modalities: tuple[str, ...], logits: Mapping[str, NDArray[np.float32]]) -> Prediction:
        """Ranked classes of one window's logits `(classes,)` per label set, and of verb-noun pairs as the action."""
        shares = {head: softmax(values) for head, values in logits.items()}
        ranked = {head: rank(share, self.labels.names[head]) for head, share in shares.items()}
        if set(shares) >= {"verb", "noun"}:
            ranked[ACTION] = rank_pairs(shares["verb"], shares["noun"], self.labels)
        used = tuple(name for name in self.modalities if name in modalities)
        doubted = {name: words for name, words in window.doubted.items() if name in used}
        return Prediction(ranked, used, window.start_seconds, window.stop_seconds, window.unreadable, doubted)

    def predict_file(
        self, file: str | Media | None, sources: Mapping[str, Media] | None = None, *, window_seconds: float | None = None,
        hop_seconds: float | None = None, only: Sequence[str] | None = None, batch_size: int = 16,
    ) -> Iterator[Prediction]:  # fmt: skip
        """One prediction per window over a whole recording, which is decoded once however much windows overlap.

        Without a media file (None) it is what `sources` by modality hold; where none of them has a clock, one window.
        """
        from .windows import predict_recording

        window = self.window_seconds if window_seconds is None else window_seconds
        place, hop = None if file is None else media_of(file), window if hop_seconds is None else hop_seconds
        return predict_recording(self, place, sources or {}, (window, hop), only, batch_size)

    def stream(self, sensors: Sequence[Sensor], config: StreamConfig | None = None, **options: Any) -> LiveStream:
        """Events of live sensors, window by window; see deploy.stream.LiveStream for options. Windows are `window_seconds` long.

        `for event in recognizer.stream([Camera("/dev/video0"), Microphone("alsa:default", 16000)]): …`
        """
        from .session import StreamConfig
        from .stream import LiveStream

        return LiveStream(self, sensors, config or StreamConfig(self.window_seconds), **options)


def media_of(source: str | Media) -> Media:
    """A path as such."""
    return Path(source) if isinstance(source, str) else source


def name_of(file: Media | None, sources: Mapping[str, Media]) -> str:
    """What a recording is called: its media file, or its first other one. Raises KarmmaError for nothing at all."""
    if file is None and not sources:
        raise KarmmaError("a recording needs a media file, or a file of some modality")
    named = media_of(file or next(iter(sources.values())))
    return named.path.name if isinstance(named, PictureSequence) else named.name


def stacked(rows: Sequence[Arrays], modalities: Sequence[str]) -> tuple[Arrays, dict[str, NDArray[np.bool_]]]:
    """Inputs `(batch, …)` and presence `(batch,)` by modality; zeros where a sample lacks what others have."""
    inputs, present = {}, {}
    for name in modalities:
        present[name] = np.array([name in row for row in rows])
        if present[name].any():
            example = next(row[name] for row in rows if name in row)
            inputs[name] = np.stack([row.get(name, np.zeros_like(example)) for row in rows])
    return inputs, present


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities `(classes,)`."""
    values = np.exp(logits.astype(np.float64) - logits.max())
    return values / values.sum()


def rank(probabilities: NDArray[np.float64], names: Sequence[str], count: int = TOP) -> tuple[Ranked, ...]:
    """The most probable classes, best first."""
    best = np.argsort(-probabilities, kind="stable")[:count]
    return tuple(Ranked(names[index], float(probabilities[index])) for index in best.tolist())


def rank_pairs(verbs: NDArray[np.float64], nouns: NDArray[np.float64], labels: LabelSpace) -> tuple[Ranked, ...]:
    """The most probable verb-noun pairs, independent given the clip: they lie among the best few of each."""
    best_verbs, best_nouns = np.argsort(-verbs, kind="stable")[:TOP], np.argsort(-nouns, kind="stable")[:TOP]
    pairs = np.outer(verbs[best_verbs], nouns[best_nouns])
    names = [f"{labels.names['verb'][v]} {labels.names['noun'][n]}" for v in best_verbs for n in best_nouns]
    return rank(pairs.ravel(), names)
