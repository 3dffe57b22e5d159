"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from karmma.training.losses import cross_entropy, distillation, info_nce


def test_cross_entropy_is_the_mean_over_heads() -> None:
    logits = {"verb": torch.tensor([[math.log(3.0), 0.0]]), "noun": torch.zeros(1, 4)}
    labels = {"verb": torch.tensor([0]), "noun": torch.tensor([2])}
    expected = (-math.log(0.75) + math.log(4.0)) / 2
    assert float(cross_entropy(logits, labels).mean()) == pytest.approx(expected, rel=1e-6)


def test_distillation_is_tempered_kl_times_temperature_squared() -> None:
    teacher, student = {"verb": torch.tensor([[2 * math.log(3.0), 0.0]])}, {"verb": torch.zeros(1, 2)}
    kl = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(distillation(student, teacher, 2.0).mean()) == pytest.approx(4 * kl, rel=1e-6)
    assert float(distillation(teacher, teacher, 2.0).mean()) == pytest.approx(0.0, abs=1e-6)


def test_distillation_gradient_reaches_only_the_student() -> None:
    student, teacher = torch.zeros(2, 3, requires_grad=True), torch.randn(2, 3)
    distillation({"verb": student}, {"verb": teacher}, 3.0).mean().backward()
    assert student.grad is not None and student.grad.abs().sum() > 0
    expected = 3.0 * (torch.softmax(student / 3, -1) - torch.softmax(teacher / 3, -1)) / 2
    torch.testing.assert_close(student.grad, expected.detach())


def test_info_nce_prefers_matching_pairs_and_skips_absent_samples() -> None:
    features = torch.eye(4)
    there = torch.ones(4, dtype=torch.bool)
    matched = info_nce({"a": features, "b": features}, {"a": there, "b": there})
    shuffled = info_nce({"a": features, "b": features.roll(1, 0)}, {"a": there, "b": there})
    assert float(matched) == pytest.approx(math.log(1 + 3 * math.exp(-10)), rel=1e-3)
    assert float(shuffled) > 9
    nobody = torch.zeros(4, dtype=torch.bool)
    assert float(info_nce({"a": features, "b": features}, {"a": there, "b": nobody})) == 0.0
