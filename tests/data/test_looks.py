"""A teacher that has looked beforehand, and a student that gets the very same looks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from karmma.data.clips import ClipStore
from karmma.data.loading import EpochLoader, TrainingBatch
from karmma.data.missing import IndependentDropout
from karmma.data.streaming import StreamStore
from karmma.data.tokens import TokenStore
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.modalities import make_modalities

MODALITIES = make_modalities(
    {
        "rgb": {"frames": 2, "height": 24, "width": 24, "colour_jitter": 0.2},
        "flow": {"frames": 2, "height": 16, "width": 16},
        "audio": {"seconds": 0.5, "bands": 16},
        "imu": {},
        "detections": {"frames": 4},
    }
)
VIEWS = 3


def encode(clips: Tensor) -> Tensor:
    """Tokens from which any change of a clip shows: `(samples, 2, 32)` of its values, evenly spread."""
    flat = clips.float().flatten(1)
    return flat[:, torch.linspace(0, flat.shape[1] - 1, 64).long()].unflatten(1, (2, 32))


@pytest.fixture(scope="module")
def store(kitchen_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    made = ClipStore(tmp_path_factory.mktemp("clips"), load_kitchen(kitchen_root).split("train"), MODALITIES)
    made.write(workers=1)
    return made


@pytest.fixture(scope="module")
def tokens(store: ClipStore, tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    encoders: dict[str, Callable[[Tensor], Tensor]] = dict.fromkeys(MODALITIES, encode)
    return TokenStore.write(tmp_path_factory.mktemp("tokens"), store, encoders, VIEWS, batch_size=5, segments_per_shard=8)


def epoch(store: ClipStore, tokens: TokenStore, number: int = 0, augment: bool = True) -> list[TrainingBatch]:
    scenario = IndependentDropout(0.3)
    return list(EpochLoader(store, 4, 1, number, augment=augment, tokens=tokens, scenario=scenario))


@pytest.mark.parametrize("streams", [False, True])
def test_student_and_teacher_look_at_the_same_clips(
    streams: bool, store: ClipStore, tokens: TokenStore, tmp_path: Path
) -> None:
    source = store
    if streams:
        source = StreamStore(tmp_path, store.segments, MODALITIES)
        source.write()
    compared = dict.fromkeys(MODALITIES, 0)
    for item in epoch(source, tokens):
        for name, clips in item.batch.data.items():
            rows = item.batch.present[name]
            torch.testing.assert_close(encode(clips)[rows], item.tokens[name][rows], atol=5e-3, rtol=2e-3)
            compared[name] += int(rows.sum())
    assert min(compared.values()) > 0


def test_looks_change_from_epoch_to_epoch_and_the_fixed_one_is_for_those_who_do_not_augment(
    store: ClipStore, tokens: TokenStore
) -> None:
    def rgb(number: int, augment: bool = True) -> dict[int, Tensor]:
        items = EpochLoader(store, 4, 1, number, augment=augment, tokens=tokens)
        pairs = [(item.looks[:, 0].tolist(), item.batch.data["rgb"]) for item in items]
        return {segment: clip for segments, clips in pairs for segment, clip in zip(segments, clips, strict=True)}

    first, second, plain = rgb(0), rgb(1), store.batch(np.arange(len(store)), None).data["rgb"]
    both = first.keys() & second.keys()
    assert both and sum(not torch.equal(first[segment], second[segment]) for segment in both) >= len(both) / 3
    assert all(torch.equal(clip, plain[segment]) for segment, clip in rgb(0, augment=False).items())


def test_what_the_teacher_could_not_read_is_absent_for_both(store: ClipStore, tmp_path: Path) -> None:
    encoders: dict[str, Callable[[Tensor], Tensor]] = {name: encode for name in MODALITIES if name != "audio"}
    deaf = TokenStore.write(tmp_path, store, encoders, VIEWS)
    for item in epoch(store, deaf):
        assert not item.batch.present["audio"].any() and "audio" not in item.batch.data


def test_a_teacher_alone_learns_from_the_fixed_look_too(store: ClipStore, tokens: TokenStore) -> None:
    def views(clips: bool) -> set[int]:
        loader = EpochLoader(store, 4, 0, 0, augment=True, clips=clips, tokens=tokens)
        return set(loader.draw_views(500, 7).tolist())

    assert views(clips=False) == {0, 1, 2} and views(clips=True) == {1, 2}
