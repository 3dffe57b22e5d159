"""Who is absent: the samplers keep their promises."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from karmma.data.missing import Complete, IndependentDropout, Subset, UniformSubsets, training_scenario
from karmma.types import KarmmaError

NAMES = ("rgb", "flow", "audio")
availability = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30)
scenarios = st.one_of(
    st.floats(0, 1).map(IndependentDropout), st.just(UniformSubsets()), st.just(Complete()),
)  # fmt: skip


@given(rows=availability, scenario=scenarios, seed=st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_presence_never_exceeds_availability_and_never_empties_a_sample(rows, scenario, seed) -> None:  # type: ignore[no-untyped-def]
    available = torch.tensor(rows)
    present = scenario.presence(available, NAMES, torch.Generator().manual_seed(seed))
    assert present.dtype == torch.bool
    assert not (present & ~available).any()
    assert torch.equal(present.any(1), available.any(1))


def exact_mixture(rate: float) -> dict[tuple[bool, ...], float]:
    """Probability of every presence under the paper's rule, by enumeration."""
    chances: dict[tuple[bool, ...], float] = {}
    for kept in product((False, True), repeat=3):
        chance = 1.0
        for flag in kept:
            chance *= (1 - rate) if flag else rate
        outcomes = [kept] if any(kept) else [tuple(i == one for i in range(3)) for one in range(3)]
        for outcome in outcomes:
            chances[outcome] = chances.get(outcome, 0.0) + chance / len(outcomes)
    return chances


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.7, 1.0])
def test_independent_dropout_has_the_papers_distribution(rate: float) -> None:
    draws = 40_000
    present = IndependentDropout(rate).presence(
        torch.ones(draws, 3, dtype=torch.bool), NAMES, torch.Generator().manual_seed(1)
    )
    for outcome, chance in exact_mixture(rate).items():
        share = float((present == torch.tensor(outcome)).all(1).float().mean())
        assert share == pytest.approx(chance, abs=4 * (chance * (1 - chance) / draws) ** 0.5 + 1e-9)


def test_uniform_subsets_are_uniform() -> None:
    draws = 35_000
    present = UniformSubsets().presence(torch.ones(draws, 3, dtype=torch.bool), NAMES, torch.Generator().manual_seed(1))
    codes = (present.long() * torch.tensor([1, 2, 4])).sum(1)
    shares = torch.bincount(codes, minlength=8) / draws
    assert shares[0] == 0
    torch.testing.assert_close(shares[1:], torch.full((7,), 1 / 7), atol=0.008, rtol=0)


def test_subset_keeps_only_what_is_named_and_there() -> None:
    available = torch.tensor([[True, True, False], [False, True, True]])
    present = Subset(("rgb", "audio")).presence(available, NAMES, torch.Generator())
    assert present.tolist() == [[True, False, False], [False, False, True]]
    with pytest.raises(KarmmaError, match="allowed are non-empty subsets of rgb, flow, audio"):
        Subset(("sonar",)).presence(available, NAMES, torch.Generator())
    with pytest.raises(KarmmaError, match="non-empty"):
        Subset(()).presence(available, NAMES, torch.Generator())


def test_training_scenario_follows_the_recipe() -> None:
    assert training_scenario("independent", 0.0) == Complete()
    assert training_scenario("independent", 0.3) == IndependentDropout(0.3)
    assert training_scenario("uniform", 0.0) == UniformSubsets()
    with pytest.raises(KarmmaError, match="0–1"):
        IndependentDropout(1.2)
