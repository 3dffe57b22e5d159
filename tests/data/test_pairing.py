"""Samples put together out of several segments of one class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from karmma.data.clips import ClipStore
from karmma.data.loading import EpochLoader
from karmma.data.pairing import Pairing
from karmma.data.streaming import StreamStore
from karmma.data.tokens import TokenStore
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.modalities import make_modalities

LABELS = {"verb": torch.tensor([0, 0, 0, 1, 1, 1, 0, 0]), "noun": torch.tensor([2, 2, 2, 2, 2, 2, 2, 5])}
MODALITIES = make_modalities({"audio": {"seconds": 0.5, "bands": 16}, "imu": {}})


def everyone(count: int) -> dict[str, Tensor]:
    return dict.fromkeys(("audio", "imu"), torch.ones(count, dtype=torch.bool))


def test_partners_agree_in_every_label() -> None:
    pairing = Pairing(LABELS, everyone(8), 1.0)
    draws = [pairing.draw(np.arange(8), seed) for seed in range(200)]
    taken = np.stack([[drawn["audio"], drawn["imu"]] for drawn in draws])
    assert set(taken[:, :, 0].flatten().tolist()) == {0, 1, 2, 6}
    assert set(taken[:, :, 4].flatten().tolist()) == {3, 4, 5}
    assert (taken[:, :, 7] == 7).all()  # the only one of its class
    assert (taken[:, 0, 0] != taken[:, 1, 0]).any()  # each modality is drawn on its own
    counts = np.bincount(taken[:, :, 0].flatten())[[0, 1, 2, 6]]
    assert counts.min() > 60 and counts.sum() == 400


def test_a_share_of_modalities_is_exchanged() -> None:
    pairing = Pairing({"action": torch.zeros(4000, dtype=torch.long)}, everyone(4000), 0.25)
    indices = np.arange(4000)
    first, again, other = (pairing.draw(indices, seed) for seed in (3, 3, 4))
    for name in first:
        assert (first[name] != indices).mean() == pytest.approx(0.25, abs=0.03)
        assert np.array_equal(first[name], again[name]) and not np.array_equal(first[name], other[name])


def test_a_sample_gets_what_its_own_segment_lacks() -> None:
    having = {"audio": torch.tensor([True, False] * 4), "imu": torch.tensor([False, True] * 4), "rgb": torch.zeros(8).bool()}
    taken = Pairing(LABELS, having, 1.0).draw(np.arange(8), 0)
    assert all(having["audio"][row] for row in taken["audio"][:7].tolist())
    assert all(having["imu"][row] for row in taken["imu"].tolist())
    assert taken["audio"][7] == 7  # nobody of its class has it
    assert np.array_equal(taken["rgb"], np.arange(8))


@pytest.fixture(scope="module")
def store(kitchen_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    made = ClipStore(tmp_path_factory.mktemp("clips"), load_kitchen(kitchen_root).split("train"), MODALITIES)
    made.write(workers=1)
    return made


def test_batches_hold_the_partners_clips(store: ClipStore, tmp_path: Path) -> None:
    indices, taken = np.array([0, 1]), {"audio": np.array([2, 1]), "imu": np.array([0, 3])}
    streamed = StreamStore(tmp_path, store.segments, MODALITIES)
    streamed.write()
    for source in (store, streamed):
        batch = source.batch(indices, None, taken=taken)
        assert torch.equal(batch.data["audio"], store.batch([2, 1], None).data["audio"])
        assert torch.equal(batch.data["imu"], store.batch([0, 3], None).data["imu"])
        assert batch.labels["verb"].tolist() == [store.segments[row].labels["verb"] for row in (0, 1)]


def test_a_partner_that_cannot_be_read_is_absent(store: ClipStore, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"nothing")
    segments = list(store.segments)
    segments[2] = replace(segments[2], sources={**segments[2].sources, "audio": bad})
    streamed = StreamStore(tmp_path / "clips", segments, MODALITIES)
    streamed.write()
    batch = streamed.batch([0, 1], None, taken={"audio": np.array([2, 1]), "imu": np.array([0, 2])})
    assert batch.present["audio"].tolist() == [False, True] and batch.present["imu"].tolist() == [True, True]
    assert [(row[0], row[1]) for row in streamed.failures()] == [(segments[2].name, "audio")]


@pytest.fixture(scope="module")
def unaligned(store: ClipStore, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    """Sixty-four segments of two classes with one modality each."""
    segments = [replace(store.segments[row % 3], labels={"action": row % 2}) for row in range(64)]
    made = ClipStore(tmp_path_factory.mktemp("unaligned"), segments, MODALITIES, keep_modalities=1)
    made.write(workers=1)
    return made


@pytest.mark.parametrize("tokens_alone", [False, True])
def test_unaligned_data_makes_complete_samples(unaligned: ClipStore, tokens_alone: bool, tmp_path: Path) -> None:
    assert (unaligned.available.sum(1) == 1).all()
    tokens = None
    if tokens_alone:
        encoders = dict.fromkeys(MODALITIES, lambda clips: clips.flatten(1)[:, :6].unflatten(1, (3, 2)))
        tokens = TokenStore.write(tmp_path, unaligned, encoders, views=1, mirror=0.0)

    def batches(pairing: float) -> Tensor:
        loader = EpochLoader(unaligned, 4, 0, 0, augment=False, clips=not tokens_alone, tokens=tokens, pairing=pairing)
        found = []
        for item in loader:
            values = item.tokens if tokens_alone else item.batch.data
            for name, flags in item.batch.present.items():
                assert torch.equal(item.present[name], flags)
                if flags.any():
                    assert (values[name][flags] != 0).flatten(1).any(1).all()  # what is present was read
            found.append(torch.stack(list(item.batch.present.values()), 1))
        return torch.cat(found)

    assert batches(0.0).sum(1).tolist() == [1] * 64
    assert batches(1.0).all()
