"""The closed form of random kernels against plain ridge regression, and on clips that only time tells apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from karmma.config import KernelsConfig
from karmma.data.loading import TrainingBatch
from karmma.models.random_kernels import RandomKernels
from karmma.training.kernels import Sums, fit_kernels
from karmma.types import Batch, KarmmaError, ModalitySpec

SPEC = ModalitySpec("imu", (48, 3), "samples axes")


def test_sums_give_the_weights_of_ridge_regression_on_standardised_features() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 8)) * np.geomspace(0.1, 10, 8) + 30
    wanted = np.where(random.random((60, 3)) < 0.4, 1.0, -1.0)
    sums = Sums(8, 3)
    for first in range(0, 60, 16):
        sums.add(torch.tensor(features[first : first + 16]).float(), torch.tensor(wanted[first : first + 16]).float())
    weight, offset = sums.solve(0.25)

    mean, spread = features.mean(0), features.std(0)
    z = (features - mean) / spread
    beta = np.linalg.solve(z.T @ z + 0.25 * 8 * np.eye(8), z.T @ (wanted - wanted.mean(0)))
    expected = z @ beta + wanted.mean(0)
    np.testing.assert_allclose(features @ weight.numpy().T + offset.numpy(), expected, atol=2e-3)


def waves(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips of slow and fast waves of any phase, direction and strength, and which they are."""
    generator = torch.Generator().manual_seed(seed)
    fast = torch.arange(count) % 2
    moments = torch.arange(48) / 48
    phase, strength = torch.rand(count, 1, generator=generator), 0.5 + torch.rand(count, 1, generator=generator)
    wave = strength * torch.sin(2 * torch.pi * ((2 + 3 * fast[:, None]) * moments + phase))
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return wave[:, :, None] * direction[:, None] + 0.1 * torch.randn(count, 48, 3, generator=generator), fast


def loader_of(clips: torch.Tensor, labels: torch.Tensor, having: torch.Tensor) -> Callable[[int], list[TrainingBatch]]:
    """One pass in batches of sixteen; what is absent holds NaN."""
    clips = torch.where(having[:, None, None], clips, torch.nan)
    pieces = zip(clips.split(16), having.split(16), labels.split(16), strict=True)
    batches = [TrainingBatch(Batch({"imu": c}, {"imu": h}, {"action": y}), {}, 0, {"imu": h}) for c, h, y in pieces]
    return lambda epoch: batches


def test_what_only_time_tells_apart_is_learnt_and_absent_clips_are_never_looked_at() -> None:
    config = KernelsConfig(count=60, passes=1)
    clips, labels = waves(96, 0)
    having = torch.arange(96) % 5 != 0
    done: list[tuple[int, int]] = []
    kernels = fit_kernels(
        "imu", RandomKernels(SPEC, config, 2), config, {"action": 2}, loader_of(clips, labels, having), 3,  # type: ignore[arg-type]
        lambda *counts: done.append(counts),
    )  # fmt: skip
    others, expected = waves(64, 1)
    votes = kernels(others)
    assert (votes.argmax(1) == expected).float().mean() > 0.95 and votes.isfinite().all() and done == [(1, 1)]
    again = fit_kernels(
        "imu", RandomKernels(SPEC, config, 2), config, {"action": 2}, loader_of(clips, labels, having), 3,  # type: ignore[arg-type]
    )  # fmt: skip
    assert torch.equal(again(others), votes)


def test_a_modality_that_no_sample_has_is_an_error() -> None:
    clips, labels = waves(16, 0)
    nobody = torch.zeros(16, dtype=torch.bool)
    with pytest.raises(KarmmaError, match="no training sample has the modality imu"):
        fit_kernels(
            "imu", RandomKernels(SPEC, KernelsConfig(), 2), KernelsConfig(), {"action": 2},
            loader_of(clips, labels, nobody), 0,  # type: ignore[arg-type]
        )  # fmt: skip
