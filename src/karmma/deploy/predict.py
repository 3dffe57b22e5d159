"""A loaded checkpoint that recognises: from files, arrays or clips, with whatever modalities there are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.manifest import Segment
from ..data.reading import read_segment
from ..evaluation.metrics import ACTION, action_scores
from ..media.containers import MediaError
from ..media.probe import probe
from ..modalities import Modality, make_modalities
from ..models.checkpoint import CheckpointInfo, load_checkpoint
from ..models.recognizer import RecognizerModel
from ..types import Batch, Clip, KarmmaError, LabelSpace, Prediction, Ranked, collate

FROM_VIDEO = ("rgb", "flow", "audio")


@dataclass(frozen=True)
class Recognizer:
    """A model with its classes and preprocessing; `karmma.load(path)` makes one."""

    model: RecognizerModel
    info: CheckpointInfo
    modalities_by_name: dict[str, Modality]

    @staticmethod
    def load(path: str | Path) -> Recognizer:
        """Load a checkpoint directory. Raises KarmmaError if it is not one."""
        model, info = load_checkpoint(Path(path))
        return Recognizer(model, info, make_modalities(info.modalities, f"{path}/config.json: modalities"))

    @property
    def labels(self) -> LabelSpace:
        return self.info.labels

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.model.modalities

    def predict(
        self,
        source: str | Path | Clip | Mapping[str, Any],
        *,
        start_seconds: float | None = None,
        stop_seconds: float | None = None,
        only: Sequence[str] | None = None,
        sources: Mapping[str, Path] | None = None,
    ) -> Prediction:
        """Recognise one segment.

        `source` is a media file (the whole of it, or from start to stop), a `Clip` of model inputs, or a mapping from
        modality to a model input array. `sources` names further files by modality (`detections`, `imu`); `only`
        restricts which modalities are used. Raises KarmmaError if none is left.
        """
        if isinstance(source, Clip):
            clip = source
        elif isinstance(source, Mapping):
            clip = self.clip_of_arrays(source)
        else:
            clip = self.read_clip(Path(source), start_seconds, stop_seconds, sources or {})
        return self.predict_clips([clip], only)[0]

    def clip_of_arrays(self, arrays: Mapping[str, Any]) -> Clip:
        data = {}
        for name, array in arrays.items():
            if name not in self.modalities:
                raise KarmmaError(f"unknown modality {name!r}; this checkpoint has: {', '.join(self.modalities)}")
            value, shape = torch.as_tensor(np.asarray(array), dtype=torch.float32), self.info.specs[name].input_shape
            if tuple(value.shape) != shape:
                raise KarmmaError(f"{name}: shape {tuple(value.shape)}, expected {shape} ({self.info.specs[name].layout})")
            data[name] = value
        return Clip(data)

    def read_clip(
        self, file: Path, start_seconds: float | None, stop_seconds: float | None, sources: Mapping[str, Path]
    ) -> Clip:
        """Read one segment of a file; what the file does not have is absent."""
        start = start_seconds or 0.0
        stop = stop_seconds if stop_seconds is not None else probe(file).duration_seconds
        if stop <= start:
            raise KarmmaError(f"{file}: stop {stop:.2f} s does not lie after start {start:.2f} s")
        files = dict.fromkeys(FROM_VIDEO, file) | {name: Path(path) for name, path in sources.items()}
        segment = Segment(
            file.name, "", start, stop, {}, {name: path for name, path in files.items() if name in self.modalities}
        )
        for path in files.values():
            if not path.is_file():
                raise KarmmaError(f"{path}: no such file")
        reading = read_segment(segment, self.modalities_by_name)
        if reading.failures and not reading.arrays:
            raise MediaError(next(iter(reading.failures.values())))
        data = {name: self.prepare(name, array) for name, array in reading.arrays.items()}
        return Clip(data, {}, file.name, start, stop)

    def prepare(self, modality: str, stored: NDArray[Any]) -> torch.Tensor:
        """Model input of one stored clip."""
        return self.modalities_by_name[modality].transform(torch.from_numpy(stored)[None], None)[0]

    @torch.no_grad()
    def predict_clips(self, clips: Sequence[Clip], only: Sequence[str] | None = None) -> list[Prediction]:
        """Recognise several clips as one batch."""
        unknown = [name for name in only or () if name not in self.modalities]
        if unknown:
            raise KarmmaError(f"unknown modality {unknown[0]!r}; this checkpoint has: {', '.join(self.modalities)}")
        clips = [replace(clip, data={n: v for n, v in clip.data.items() if only is None or n in only}) for clip in clips]
        for clip in clips:
            if not clip.data:
                raise KarmmaError(
                    f"{clip.name or 'clip'}: none of the modalities {', '.join(only or self.modalities)} is there"
                )
        logits = self.logits(collate(clips, self.modalities))
        return [
            self.prediction(clip, {head: values[row] for head, values in logits.items()}) for row, clip in enumerate(clips)
        ]

    @torch.no_grad()
    def logits(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Logits per label set of a batch of model inputs."""
        return self.model(batch.data, batch.present)

    def prediction(self, clip: Clip, logits: Mapping[str, torch.Tensor]) -> Prediction:
        ranked = {head: rank(values.double().softmax(-1), self.labels.names[head]) for head, values in logits.items()}
        if set(ranked) >= {"verb", "noun"}:
            pairs = action_scores({head: values[None] for head, values in logits.items()})[0].exp()
            names = [f"{verb} {noun}" for verb in self.labels.names["verb"] for noun in self.labels.names["noun"]]
            ranked[ACTION] = rank(pairs, names)
        return Prediction(ranked, clip.modalities, clip.start_seconds, clip.stop_seconds)

    def predict_file(
        self, file: Path, sources: Mapping[str, Path], start_seconds: float | None, stop_seconds: float | None,
        window_seconds: float = 2.0, only: Sequence[str] | None = None,
    ) -> Iterator[Prediction]:  # fmt: skip
        """One prediction for start…stop, or one per window over the whole file."""
        if start_seconds is not None or stop_seconds is not None:
            yield self.predict_clips([self.read_clip(file, start_seconds, stop_seconds, sources)], only)[0]
            return
        if window_seconds <= 0:
            raise KarmmaError(f"window must be longer than 0 seconds, not {window_seconds}")
        duration = probe(file).duration_seconds
        for first in np.arange(0, max(duration - window_seconds / 2, 1e-3), window_seconds).tolist():
            clip = self.read_clip(file, first, min(first + window_seconds, duration), sources)
            yield self.predict_clips([clip], only)[0]


def rank(probabilities: torch.Tensor, names: Sequence[str], count: int = 5) -> tuple[Ranked, ...]:
    values, indices = probabilities.topk(min(count, len(names)))
    return tuple(Ranked(names[index], float(value)) for value, index in zip(values, indices.tolist(), strict=True))


def prediction_lines(predictions: Iterator[Prediction], top: int, as_json: bool) -> Iterator[str]:
    """Lines for people, or one JSON object per prediction."""
    for prediction in predictions:
        if as_json:
            heads = {
                head: {entry.name: round(entry.probability, 4) for entry in ranked[:top]}
                for head, ranked in prediction.ranked.items()
            }
            seconds = {"start_seconds": prediction.start_seconds, "stop_seconds": prediction.stop_seconds}
            yield json.dumps({**seconds, **heads, "modalities": list(prediction.modalities)})
            continue
        yield f"{prediction.start_seconds:.2f}–{prediction.stop_seconds:.2f} s, from {' + '.join(prediction.modalities)}"
        for head, ranked in prediction.ranked.items():
            yield f"  {head:<8}" + "   ".join(f"{entry.name} {100 * entry.probability:.0f} %" for entry in ranked[:top])
