"""`karmma features`: tokens of any extractor over a data set, in the shards that also hold a teacher's cached tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import Recipe, load_recipe
from ..data.manifest import Manifest, Segment
from ..data.reading import find_bounds
from ..data.streaming import StreamStore
from ..data.tokens import SEGMENTS_PER_SHARD, TokenStore
from ..files import LOCK, read_json, replacing, write_csv, write_json
from ..media.containers import MediaError
from ..modalities import Modality, make_modalities
from ..modalities.base import span_of
from ..models.checkpoint import load_checkpoint
from ..models.encoders import Encoder, make_encoder, start
from ..trees import plain
from ..types import KarmmaError

FORMAT, FORMAT_VERSION = "karmma-features", 1
NOTE = "features.json"
OnDone = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Extractors:
    """Extractors with the preprocessing that belongs to them, and where they come from."""

    encoders: Mapping[str, Encoder]
    modalities: Mapping[str, Modality]
    settings: Mapping[str, Any]

    def only(self, names: Sequence[str]) -> Extractors:
        """Some of them. Raises KarmmaError for one that is not there."""
        for name in names:
            if name not in self.encoders:
                raise KarmmaError(f"unknown modality {name!r}; there is: {', '.join(self.encoders)}")
        return Extractors(
            {name: self.encoders[name] for name in names}, {name: self.modalities[name] for name in names}, self.settings
        )


def load_extractors(source: Path) -> Extractors:
    """Extractors of a checkpoint directory, or of a recipe's teacher with the weights that it names. Raises KarmmaError."""
    if source.is_dir():
        model, info = load_checkpoint(source)
        encoders = {name: model.encoder(name) for name in model.modalities}
        settings = {"checkpoint": info.provenance, "encoders": plain(info.recognizer)["encoders"], "modalities": info.modalities}
        return Extractors(encoders, make_modalities(info.modalities), settings)
    return extractors_of(load_recipe(source, None), source)


def extractors_of(recipe: Recipe, source: Path) -> Extractors:
    """Published extractors: each needs weights, since tokens of untrained ones would be noise."""
    modalities, encoders = make_modalities(recipe.modalities, f"{source}: modalities"), {}
    for name, modality in modalities.items():
        config = recipe.teacher.recognizer.encoders[name]
        if config.weights is None:
            raise KarmmaError(f"{source}: teacher.recognizer.encoders.{name}.weights names no file")
        encoders[name] = make_encoder(modality.spec, config)
        start(encoders[name], name, config)
    settings = {"encoders": plain(recipe.teacher.recognizer)["encoders"], "modalities": plain(recipe)["modalities"]}
    return Extractors({name: encoder.eval() for name, encoder in encoders.items()}, modalities, settings)


def write_features(
    manifest: Manifest, extractors: Extractors, out: Path, *, views: int = 1, batch_size: int = 16, workers: int = 0,
    segments_per_shard: int = SEGMENTS_PER_SHARD, device: torch.device | None = None, on_done: OnDone | None = None,
) -> dict[str, dict[str, int]]:  # fmt: skip
    """Tokens of every segment of every split; resumable at shards. Returns per split how many segments have a modality.

    `out/<split>/<shard>/<modality>.npy` `(views, segments, tokens, width)` float16; `out/<split>/<modality>.seconds.npy`
    `(segments, tokens)`; `out/<split>/segments.csv`. Raises KarmmaError for a directory with other settings.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    splits = {name: segments for name, segments in manifest.splits.items() if segments}
    write_note(out, manifest, extractors, views, segments_per_shard)
    counts = {}
    for split, segments in splits.items():
        store = StreamStore(out / split, segments, extractors.modalities)
        store.write()

        def follow(done: int, total: int, split: str = split) -> None:
            if on_done:
                on_done(done, total, split)

        encoders = {name: encoder_on(encoder, device) for name, encoder in extractors.encoders.items()}
        tokens = TokenStore.write(
            out / split, store, encoders, views, batch_size, on_done=follow, segments_per_shard=segments_per_shard,
            workers=workers,
        )  # fmt: skip
        for name, encoder in extractors.encoders.items():
            save_seconds(out / split / f"{name}.seconds.npy", segments, extractors.modalities, name, encoder)
        write_segments(out / split / "segments.csv", segments, tokens, store.names)
        counts[split] = {name: int(there.sum()) for name, there in zip(store.names, tokens.present.T, strict=True)}
    return counts


def encoder_on(encoder: Encoder, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The extractor's tokens of clips that may lie on another device."""
    encoder = encoder.to(device).eval()

    @torch.no_grad()
    def encode(clips: Tensor) -> Tensor:
        return encoder(clips.to(device))

    return encode


def write_note(out: Path, manifest: Manifest, extractors: Extractors, views: int, segments_per_shard: int) -> None:
    """Say what the directory holds, or refuse one that holds something else."""
    content = {
        "format": FORMAT, "version": FORMAT_VERSION, "dataset": manifest.name, "views": views,
        "segments_per_shard": segments_per_shard, "segments": {name: len(rows) for name, rows in manifest.splits.items() if rows},
        "tokens": {name: [encoder.tokens, encoder.width] for name, encoder in extractors.encoders.items()},
        **extractors.settings,
    }  # fmt: skip
    content = json.loads(json.dumps(content))
    path = out / NOTE
    if path.is_file():
        before = read_json(path)
        changed = [key for key in content if before.get(key) != content[key]]
        if changed:
            raise KarmmaError(f"{out}: holds features with other {', '.join(changed)}; choose another --out or the same settings")
        return
    if any(path.name != LOCK for path in out.glob("*")):
        raise KarmmaError(f"{out} is neither empty nor a directory of features")
    write_json(path, content)


def save_seconds(
    path: Path, segments: Sequence[Segment], modalities: Mapping[str, Modality], name: str, encoder: Encoder
) -> None:
    """When each token of a modality lies: `(segments, tokens)` seconds of the recording; NaN where the segment's end is unknown."""
    shares = np.asarray(encoder.token_shares(), np.float64)
    moments: NDArray[np.float64] = np.full((len(segments), len(shares)), np.nan)
    for row, segment in enumerate(segments):
        try:
            first, last = span_of(modalities[name], *find_bounds(segment, modalities))
        except MediaError:
            continue
        moments[row] = first + shares * (last - first)
    with replacing(path) as temporary:
        np.save(temporary, moments)


def write_segments(path: Path, segments: Sequence[Segment], tokens: TokenStore, names: Sequence[str]) -> None:
    """One row per segment: where it lies in the recording, in which shard and row its tokens are, what is present."""
    rows = []
    for index, (segment, there) in enumerate(zip(segments, tokens.present, strict=True)):
        shard, row = divmod(index, tokens.segments_per_shard)
        present = "+".join(name for name, flag in zip(names, there, strict=True) if flag)
        seconds = [segment.start_seconds, segment.stop_seconds]
        rows.append([segment.name, segment.participant, *seconds, json.dumps(segment.labels), f"{shard:06d}", row, present])
    write_csv(path, ["name", "participant", "start_seconds", "stop_seconds", "labels", "shard", "row", "present"], rows)
