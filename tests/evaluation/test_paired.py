"""Differences between methods: what is counted, and whether 95 % intervals hold the truth in about 95 % of the cases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from karmma.evaluation.paired import Difference, Outcomes, compare, compare_parts, group_samples, join_folds

Pair = tuple[Outcomes, Outcomes]


def outcomes(hits: dict[str, NDArray[np.float64]], groups: NDArray[np.int64] | None = None) -> Outcomes:
    samples = next(iter(hits.values())).shape[1]
    return Outcomes(hits, np.arange(samples) if groups is None else groups, np.zeros(samples, np.int64))


def test_the_difference_is_the_mean_over_subsets_of_what_was_measured() -> None:
    absent = np.nan
    one = outcomes({"a+b": np.array([[1.0, 1, 1, 1]]), "b": np.array([[1, 0, absent, absent]])})
    other = outcomes({"a+b": np.array([[1.0, 0, 0, 1]]), "b": np.array([[0, 0, absent, absent]])})
    found = compare_parts(one, other, {"all": ["a+b", "b"], "b": ["b"]})
    assert found["all"].difference == pytest.approx(50) and found["b"].difference == pytest.approx(50)
    assert one.top1() == {"a+b": 100.0, "b": 50.0}


def test_equal_methods_have_no_interval_and_a_subset_nobody_has_does_not_count() -> None:
    nothing = np.full((2, 5), np.nan)
    same = outcomes({"a": np.array([[1.0, 0, 1, 1, 0]] * 2), "b": nothing})
    assert compare(same, same) == Difference(0.0, 0.0, 0.0)
    assert compare_parts(same, same, {"b": ["b"]}) == {} and np.isnan(same.top1()["b"])


def test_samples_are_grouped_by_participant_and_labels() -> None:
    people, labels = ["p1", "p1", "p2", "p1", "", ""], {"verb": [0, 0, 0, 1, 0, 0], "noun": [3, 3, 3, 3, 3, 3]}
    assert group_samples(people, labels).tolist() == [0, 0, 1, 2, 3, 4]


def test_folds_keep_their_groups_apart() -> None:
    fold = Outcomes({"a": np.array([[1.0, 0, 1]])}, np.array([0, 0, 1]), np.zeros(3, np.int64))
    both = join_folds([fold, fold])
    assert both.groups.tolist() == [0, 0, 1, 2, 2, 3] and both.folds.tolist() == [0, 0, 0, 1, 1, 1]
    assert both.hits["a"].tolist() == [[1, 0, 1, 1, 0, 1]]
    assert join_folds([both, fold]).folds.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_samples_that_fall_together_are_one_witness() -> None:
    hits = np.repeat(np.random.default_rng(0).integers(0, 2, (1, 40)).astype(float), 5, 1)
    groups = np.repeat(np.arange(40), 5)
    nothing = {"a": np.zeros_like(hits)}
    together = compare(outcomes({"a": hits}, groups), outcomes(nothing, groups))
    apart = compare(outcomes({"a": hits}), outcomes(nothing))
    assert together.high - together.low > 1.8 * (apart.high - apart.low)


def trained(generator: np.random.Generator, seeds: int, spread: float) -> Pair:
    """Two methods that are equally good: four folds of 27 groups of 4 samples, seeds that make one better by chance."""
    folds: list[Pair] = []
    for _ in range(4):
        groups = np.repeat(np.arange(27), 4)
        luck, difficulty = generator.normal(0, spread, (seeds, 1)), generator.normal(1.5, 1.1, 27)

        def hits(shift: NDArray[np.float64], level: NDArray[np.float64] = difficulty) -> NDArray[np.float64]:
            shared = level + shift + generator.normal(0, 0.7, (seeds, 27))
            return (shared[:, np.repeat(np.arange(27), 4)] + generator.normal(0, 0.3, (seeds, 108)) > 0).astype(float)

        folds.append((outcomes({"a": hits(luck)}, groups), outcomes({"a": hits(0 * luck)}, groups)))
    return join_folds([one for one, _ in folds]), join_folds([other for _, other in folds])


def covered(make: Callable[[np.random.Generator], Pair], times: int = 120) -> float:
    generator = np.random.default_rng(5)
    found = [compare(*make(generator)) for _ in range(times)]
    return float(np.mean([row.low <= 0 <= row.high for row in found]))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    assert 0.9 <= covered(lambda generator: trained(generator, 2, 0.0)) <= 1.0
    assert 0.88 <= covered(lambda generator: trained(generator, 3, 0.4)) <= 1.0


def test_luck_of_seeds_widens_the_interval() -> None:
    generator = np.random.default_rng(3)
    lucky, other = trained(generator, 3, 0.4)
    merged = {subset: values.mean(0, keepdims=True) for subset, values in lucky.hits.items()}
    alone = compare(Outcomes(merged, lucky.groups, lucky.folds),
                    Outcomes({s: v.mean(0, keepdims=True) for s, v in other.hits.items()}, other.groups, other.folds))  # fmt: skip
    seen = compare(lucky, other)
    assert seen.difference == pytest.approx(alone.difference) and seen.high - seen.low > alone.high - alone.low


def test_draws_that_have_nothing_of_a_subset_are_left_out() -> None:
    rare = np.full((1, 6), np.nan)
    rare[0, 0] = 1.0
    found = compare_parts(outcomes({"a": rare}), outcomes({"a": 0 * rare}), {"a": ["a"]})["a"]
    assert found == Difference(100.0, 100.0, 100.0)
