"""Mixup among samples with the same sensors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from karmma.config import DistillationConfig, MethodConfig
from karmma.data.loading import TrainingBatch
from karmma.training.losses import cross_entropy
from karmma.training.mixing import draw_partners, mix
from karmma.training.tasks import DistillationTask, SupervisedTask
from karmma.training.teachers import LiveTeacher
from karmma.types import KarmmaError

from ..conftest import LABEL_SIZES, make_batch, make_recognizer
from .test_tasks import CONFIG, make_loader, step


def training_batch(size: int) -> TrainingBatch:
    batch = make_batch(size)
    return TrainingBatch(batch, {}, 0, batch.present)


def test_partners_have_the_same_sensors_and_each_is_chosen_once() -> None:
    torch.manual_seed(0)
    patterns = torch.rand(40, 3) < 0.5
    partners = draw_partners(patterns)
    assert torch.equal(patterns[partners], patterns)
    assert torch.equal(partners.sort().values, torch.arange(40))
    assert not torch.equal(partners, torch.arange(40))


def test_clips_and_labels_are_blended_by_the_same_share_and_the_own_one_prevails() -> None:
    torch.manual_seed(0)
    batch = training_batch(6)
    mixed = mix(batch, torch.ones(6, 2, dtype=torch.bool), LABEL_SIZES, 0.4)
    labels = mixed.batch.labels["verb"]
    torch.testing.assert_close(labels.sum(1), torch.ones(6))
    own = labels[torch.arange(6), batch.batch.labels["verb"]]
    assert (own >= 0.5).all() and (own < 0.999).any()

    torch.manual_seed(0)
    partners = draw_partners(torch.ones(6, 2, dtype=torch.bool))
    differing = batch.batch.labels["verb"] != batch.batch.labels["verb"][partners]
    rgb = batch.batch.data["rgb"]
    expected = own.view(-1, *[1] * (rgb.ndim - 1)) * rgb + (1 - own.view(-1, *[1] * (rgb.ndim - 1))) * rgb[partners]
    torch.testing.assert_close(mixed.batch.data["rgb"][differing], expected[differing])


def test_a_sample_with_sensors_of_its_own_stays_as_it_is() -> None:
    batch = training_batch(3)
    mixed = mix(batch, torch.eye(3, dtype=torch.bool), LABEL_SIZES, 0.4)
    torch.testing.assert_close(mixed.batch.data["rgb"], batch.batch.data["rgb"])
    assert torch.equal(mixed.batch.labels["noun"].argmax(1), batch.batch.labels["noun"])


def test_what_an_absent_slot_holds_is_still_never_looked_at() -> None:
    torch.manual_seed(0)
    batch = make_batch(4)
    present = {name: torch.ones(4, dtype=torch.bool) for name in batch.data} | {"rgb": torch.tensor([True, True, False, False])}
    batch.data["rgb"][2:] = torch.nan
    mixed = mix(TrainingBatch(batch, {}, 0, batch.present), torch.stack(list(present.values()), 1), LABEL_SIZES, 1.0)
    assert torch.isfinite(mixed.batch.data["rgb"][:2]).all()
    logits = make_recognizer()(mixed.batch.data, present)
    assert torch.isfinite(cross_entropy(logits, mixed.batch.labels, 0.1)).all()


def test_labels_as_probabilities_cost_what_classes_cost() -> None:
    logits, labels = {"verb": torch.randn(5, 7)}, torch.randint(7, (5,))
    soft = torch.nn.functional.one_hot(labels, 7).float()
    torch.testing.assert_close(cross_entropy(logits, {"verb": soft}, 0.1), cross_entropy(logits, {"verb": labels}, 0.1))


def test_inputs_of_whole_numbers_are_refused() -> None:
    batch = training_batch(2)
    words = replace(batch.batch, data={"words": torch.zeros(2, 3, dtype=torch.long)})
    with pytest.raises(KarmmaError, match="cannot blend words"):
        mix(replace(batch, batch=words), torch.ones(2, 1, dtype=torch.bool), LABEL_SIZES, 0.4)


def test_both_ways_of_training_students_take_it() -> None:
    plain = step(SupervisedTask(make_recognizer().train(), CONFIG, make_loader))
    mixed = step(SupervisedTask(make_recognizer().train(), CONFIG, make_loader, 0.4))
    assert torch.isfinite(mixed) and not torch.equal(plain, mixed)
    taught = DistillationTask(
        make_recognizer().train(), CONFIG, make_loader, 0.4, teacher=LiveTeacher(make_recognizer(9)),
        distillation=DistillationConfig(),
    )  # fmt: skip
    assert torch.isfinite(step(taught))


def test_cached_tokens_cannot_teach_blends() -> None:
    with pytest.raises(ValueError, match="teacher_input: live"):
        MethodConfig(mixup=0.4, distillation=DistillationConfig(teacher_input="cached"))
