"""Randomness of training clips."""

from __future__ import annotations

import pytest
import torch

from karmma.augmentation import Augmentation


def draws_of(augmentation: Augmentation, modality: str = "rgb") -> list[torch.Tensor]:
    own, count = augmentation.of(modality), len(augmentation.mirrored)
    return [own.uniform((count, 2), -1, 1), own.normal((count, 20, 3), 0.5), own.integers((count,), 7), own.mirrored]


@pytest.mark.parametrize("numbered", [False, True])
def test_draws_keep_to_their_bounds(numbered: bool) -> None:
    looks = Augmentation.of_looks(range(4000), [1] * 4000, 0.25)
    uniform, normal, whole, mirrored = draws_of(looks if numbered else Augmentation.draw(4000, 3, 0.25))
    assert uniform.min() >= -1 and uniform.max() < 1 and abs(float(uniform.mean())) < 0.05
    assert float(normal.std()) == pytest.approx(0.5, abs=0.01) and abs(float(normal.mean())) < 0.01
    assert set(whole.tolist()) == set(range(7))
    assert float(mirrored.float().mean()) == pytest.approx(0.25, abs=0.03)


def test_a_look_is_the_same_in_whatever_company() -> None:
    several = draws_of(Augmentation.of_looks([5, 9, 2], [1, 4, 3]))
    for place, (sample, view) in enumerate([(5, 1), (9, 4), (2, 3)]):
        alone = draws_of(Augmentation.of_looks([sample], [view]))
        assert all(torch.equal(one[place], other[0]) for one, other in zip(several, alone, strict=True))
    some = draws_of(Augmentation.of_looks([5, 9, 2], [1, 4, 3]).select(torch.tensor([2, 0])))
    assert all(torch.equal(one, other[[2, 0]]) for one, other in zip(some, several, strict=True))


def test_looks_differ_by_sample_number_and_modality_but_flips_are_shared() -> None:
    look = draws_of(Augmentation.of_looks([5], [1]))
    for other in (Augmentation.of_looks([6], [1]), Augmentation.of_looks([5], [2]), Augmentation.of_looks([51], [1])):
        assert not torch.equal(draws_of(other)[0], look[0])
    both = Augmentation.of_looks(range(64), [3] * 64)
    assert not torch.equal(draws_of(both, "rgb")[0], draws_of(both, "flow")[0])
    assert torch.equal(draws_of(both, "rgb")[3], draws_of(both, "flow")[3]) and 10 < int(both.mirrored.sum()) < 54
