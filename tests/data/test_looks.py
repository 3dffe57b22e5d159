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
    def rgb(number: int, augment: bool = True) -> Tensor:
        loader = EpochLoader(store, 4, 1, number, augment=augment, tokens=tokens)
        by_row = [(row, clip) for index, item in enumerate(loader) for row, clip in zip(
            sorted(loader.order[index * 4 : index * 4 + 4].tolist()), item.batch.data["rgb"], strict=True)]  # fmt: skip
        return torch.stack([dict(by_row)[row] for row in range(8) if row in dict(by_row)][:3])

    assert not torch.equal(rgb(0), rgb(1))
    assert torch.equal(rgb(0, augment=False), rgb(1, augment=False))
    plain = store.batch(np.arange(len(store)), None)
    for item in epoch(store, tokens, augment=False):
        fixed = encode(item.batch.data["rgb"])[item.batch.present["rgb"]]
        assert all((encode(plain.data["rgb"]) == row).flatten(1).all(1).any() for row in fixed)


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
