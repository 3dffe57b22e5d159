"""Protocol P5: training segments of which only some random modalities are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from karmma.data.clips import ClipStore
from karmma.data.loading import EpochLoader
from karmma.data.streaming import StreamStore
from karmma.data.tokens import TokenStore
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.modalities import make_modalities

MODALITIES = make_modalities({"audio": {"seconds": 0.5, "bands": 16}, "imu": {}, "detections": {"frames": 4}})


def unaligned_store(directory: Path, root: Path, keep_modalities: int) -> ClipStore:
    """Sixty-four segments of two classes."""
    segments = load_kitchen(root).split("train")
    many = [replace(segments[row % 3], labels={"action": row % 2}) for row in range(64)]
    store = ClipStore(directory, many, MODALITIES, keep_modalities)
    store.write(workers=1)
    return store


@pytest.mark.parametrize("keep_modalities", [1, 2])
def test_each_segment_keeps_so_many_and_all_of_them_alike(keep_modalities: int, kitchen_root: Path, tmp_path: Path) -> None:
    store = unaligned_store(tmp_path / "stored", kitchen_root, keep_modalities)
    assert (store.available.sum(1) == keep_modalities).all()
    assert (store.available.sum(0) > 64 * keep_modalities / 3 / 2).all()
    streamed = StreamStore(tmp_path / "streamed", store.segments, MODALITIES, keep_modalities)
    assert torch.equal(streamed.available, store.available)  # the same draw however clips are kept


@pytest.mark.parametrize("tokens_alone", [False, True])
def test_batches_hold_what_was_kept_and_nothing_else(tokens_alone: bool, kitchen_root: Path, tmp_path: Path) -> None:
    store = unaligned_store(tmp_path / "stored", kitchen_root, 1)
    tokens = None
    if tokens_alone:
        encoders = dict.fromkeys(MODALITIES, lambda clips: clips.flatten(1)[:, :6].unflatten(1, (3, 2)))
        tokens = TokenStore.write(tmp_path / "tokens", store, encoders, views=1, mirror=0.0)
    loader = EpochLoader(store, 4, 0, 0, augment=False, clips=not tokens_alone, tokens=tokens)
    seen = dict.fromkeys(MODALITIES, 0)
    for number, item in enumerate(loader):
        rows = np.sort(loader.order[number * 4 : number * 4 + 4])
        values = item.tokens if tokens_alone else item.batch.data
        for column, (name, flags) in enumerate(item.batch.present.items()):
            assert torch.equal(flags, store.available[rows, column]) and torch.equal(item.present[name], flags)
            if flags.any():
                assert (values[name][flags] != 0).flatten(1).any(1).all()  # what is present was read
                assert (values[name][~flags] == 0).all()
            seen[name] += int(flags.sum())
    assert sum(seen.values()) == 64 and min(seen.values()) > 0
