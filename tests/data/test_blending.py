"""Blends of clips of one class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from karmma.data.blending import ClassBlender
from karmma.data.clips import ClipStore
from karmma.data.loading import BLENDS, EpochLoader, mix_seed
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.modalities import make_modalities
from karmma.types import Augmentation, KarmmaError

STILL = {"rotate_degrees": 0.0, "stretch": 0.0, "bias": 0.0, "noise": 0.0, "trim": 0.0, "bend": 0.0, "span": "segment"}
ALL = slice(0, None)


@pytest.fixture(scope="module")
def store(kitchen_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    """Six clips of two classes, three of each, whose imu is not augmented, so that blends can be computed by hand."""
    some = load_kitchen(kitchen_root).split("train")[:6]
    segments = [replace(segment, labels={"verb": index % 2}) for index, segment in enumerate(some)]
    modalities = make_modalities({"imu": STILL, "rgb": {"frames": 2, "height": 16, "width": 16}})
    made = ClipStore(tmp_path_factory.mktemp("clips"), segments, modalities)
    made.write(workers=1)
    return made


def test_blends_lie_between_two_clips_of_one_class_and_other_modalities_stay(store: ClipStore) -> None:
    indices, augmentation = np.arange(6), Augmentation.draw(6, 3, 0.0)
    batch = store.batch(indices, augmentation)
    blender = ClassBlender(store, {"imu": 1.0})
    blended = blender.blend(batch, indices, slice(0, 6), augmentation, 9)
    partners = blender.partners(indices, np.random.default_rng(9))
    assert (partners % 2 == indices % 2).all() and (partners != indices).all()
    assert torch.equal(blended.data["rgb"], batch.data["rgb"]) and blended.labels is batch.labels
    own, other = batch.data["imu"].flatten(1), batch.data["imu"][partners].flatten(1)
    moved, way = blended.data["imu"].flatten(1) - own, other - own
    weights = (moved * way).sum(1) / way.square().sum(1)
    assert torch.allclose(moved, weights[:, None] * way, atol=1e-5)
    assert ((weights > 0) & (weights < 1)).all() and weights.std() > 0.05


def test_a_share_of_nothing_blends_nothing_and_a_lone_clip_is_its_own_partner(store: ClipStore) -> None:
    indices, augmentation = np.arange(6), Augmentation.draw(6, 3, 0.0)
    batch = store.batch(indices, augmentation)
    assert torch.equal(ClassBlender(store, {"imu": 0.0}).blend(batch, indices, ALL, augmentation, 9).data["imu"], batch.data["imu"])
    lone = ClipStore(store.directory, store.segments, store.modalities)
    lone.labels["verb"][:] = torch.arange(6)
    assert ClassBlender(lone, {"imu": 1.0}).partners(indices, np.random.default_rng(0)).tolist() == list(range(6))


def test_a_partner_without_the_sensor_changes_nothing(store: ClipStore) -> None:
    deaf = ClipStore(store.directory, store.segments, store.modalities)
    deaf.available[2:, 0] = False
    indices, augmentation = np.array([0]), Augmentation.draw(1, 3, 0.0)
    batch = deaf.batch(indices, augmentation)
    blended = ClassBlender(deaf, {"imu": 1.0}).blend(batch, indices, ALL, augmentation, 9)
    assert torch.equal(blended.data["imu"], batch.data["imu"])


def test_epochs_blend_while_augmenting_only_and_parts_of_a_batch_agree(store: ClipStore) -> None:
    def first(augment: bool, blends: dict[str, float]) -> torch.Tensor:
        return next(iter(EpochLoader(store, 6, 5, 1, augment=augment, mirror=0.0, blends=blends))).batch.data["imu"]

    assert torch.equal(first(False, {"imu": 1.0}), first(False, {}))
    whole = first(True, {"imu": 1.0})
    assert not torch.equal(whole, first(True, {}))
    assert torch.equal(whole, first(True, {"imu": 1.0}))
    loader = EpochLoader(store, 6, 5, 1, augment=True, mirror=0.0, blends={"imu": 1.0})
    assert loader.blender is not None
    item = loader.make(0)
    indices = np.sort(loader.order[:6])
    half, seed = slice(3, 6), mix_seed(5, 1, 0)
    augmentation = Augmentation.draw(6, seed, 0.0, half)
    part = store.batch(indices[half], augmentation)
    blended = loader.blender.blend(part, indices, half, augmentation, mix_seed(seed, BLENDS))
    assert torch.equal(blended.data["imu"], item.batch.data["imu"][half])


def test_inputs_of_whole_numbers_are_refused_by_name(store: ClipStore) -> None:
    indices, augmentation = np.arange(2), Augmentation.draw(2, 3, 0.0)
    batch = store.batch(indices, augmentation)
    batch.data["imu"] = batch.data["imu"].long()
    with pytest.raises(KarmmaError, match="imu cannot be blended"):
        ClassBlender(store, {"imu": 1.0}).blend(batch, indices, ALL, augmentation, 9)
