"""Protocols P1 and P2 and the metrics below them."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from karmma.data.missing import IndependentDropout, Scenario, Subset
from karmma.evaluation.evaluate import SubsetLogits, average_views, evaluate, fuse_subset, late_fusion, look
from karmma.evaluation.metrics import action_scores, confusion, correctness, in_top_k, retention
from karmma.evaluation.profile import count_gflops, count_parameters, measure_cost
from karmma.types import subsets_of

from ..conftest import LABEL_SIZES, SPECS, make_batch, make_recognizer

NAMES = ("a", "b", "c")


def random_logits(samples: int = 60, available: torch.Tensor | None = None, seed: int = 0) -> SubsetLogits:
    generator = torch.Generator().manual_seed(seed)
    there = torch.ones(samples, 3, dtype=torch.bool) if available is None else available
    labels = {
        "verb": torch.randint(4, (samples,), generator=generator),
        "noun": torch.randint(6, (samples,), generator=generator),
    }
    logits = {
        subset: {"verb": torch.randn(samples, 4, generator=generator), "noun": torch.randn(samples, 6, generator=generator)}
        for subset in subsets_of(NAMES)
    }
    return SubsetLogits(NAMES, there, labels, logits)


def test_top_k_counts_ties_against_the_truth() -> None:
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    labels = torch.tensor([1, 0, 2])
    assert in_top_k(scores, labels, 1).tolist() == [True, False, False]
    assert in_top_k(scores, labels, 2).tolist() == [True, True, False]
    assert in_top_k(scores, labels, 3).tolist() == [True, True, True]


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_action_top1_is_both_heads_right(seed: int) -> None:
    logits = random_logits(40, seed=seed)
    correct = correctness(logits.logits[NAMES], logits.labels)
    assert torch.equal(correct["action_top1"], correct["verb_top1"] & correct["noun_top1"])
    assert (correct["action_top5"] | ~correct["action_top1"]).all()


def test_action_scores_are_joint_log_probabilities() -> None:
    scores = action_scores({"verb": torch.randn(3, 4), "noun": torch.randn(3, 6)})
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(3, dtype=torch.float64))


def verb_accuracy(logits: SubsetLogits, scenario: Scenario, seed: int = 0) -> float:
    value = logits.accuracies(scenario, seed)["verb_top1"]
    assert value is not None
    return value


def test_sweep_equals_the_mixture_of_subset_rows_in_expectation() -> None:
    """P2 of a fixed model is P1 mixed by the sampler's probabilities."""
    logits, rate = random_logits(), 0.4
    rows = {subset: verb_accuracy(logits, Subset(subset)) for subset in subsets_of(NAMES)}
    expected = 0.0
    for kept in product((False, True), repeat=3):
        chance = float(torch.tensor([0.6 if flag else 0.4 for flag in kept]).prod())
        names = [name for name, flag in zip(NAMES, kept, strict=True) if flag]
        outcomes = [tuple(names)] if names else [(name,) for name in NAMES]
        expected += chance * sum(rows[outcome] for outcome in outcomes) / len(outcomes)
    draws = [verb_accuracy(logits, IndependentDropout(rate), seed) for seed in range(300)]
    assert sum(draws) / len(draws) == pytest.approx(expected, abs=1.0)


def test_a_sweep_without_dropout_is_the_complete_row() -> None:
    result = evaluate(random_logits(), (0.0,), 3)
    assert result.sweep["0.0"] == pytest.approx(result.subsets["a+b+c"])


def test_samples_that_have_nothing_left_are_not_counted() -> None:
    available = torch.ones(10, 3, dtype=torch.bool)
    available[:4, 1] = False
    logits = random_logits(10, available)
    correct, some = logits.under(Subset(("b",)).presence(available, NAMES, torch.Generator()))
    assert some.tolist() == [False] * 4 + [True] * 6
    expected = 100 * float(logits.correct[("b",)]["verb_top1"][4:].double().mean())
    assert logits.accuracies(Subset(("b",)))["verb_top1"] == pytest.approx(expected)
    assert not correct["verb_top1"][:4].any()


def test_retention_is_the_incomplete_mean_over_the_complete() -> None:
    assert retention({("a", "b"): 80.0, ("a",): 60.0, ("b",): 20.0}, ("a", "b")) == pytest.approx(0.5)
    assert retention({("a", "b"): 0.0, ("a",): 1.0}, ("a", "b")) is None
    assert retention({("a", "b"): 50.0, ("a",): 40.0, ("b",): None}, ("a", "b")) == pytest.approx(0.8)


def test_a_subset_that_nobody_has_is_not_measured() -> None:
    available = torch.tensor([[True, True, False]] * 5)
    result = evaluate(random_logits(5, available), (0.5,), 2)
    assert result.subsets["c"] == dict.fromkeys(result.subsets["a"])
    assert result.sweep["0.5"]["verb_top1"] is not None


def test_confusion_counts() -> None:
    counts = confusion(torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0]]), torch.tensor([0, 1, 1]))
    assert counts.tolist() == [[1, 0], [1, 1]]


def test_logits_survive_saving(tmp_path: Path) -> None:
    before = random_logits()
    before.save(tmp_path / "logits.safetensors")
    after = SubsetLogits.load(tmp_path / "logits.safetensors")
    assert after.modalities == before.modalities and torch.equal(after.available, before.available)
    assert all(torch.equal(after.logits[s][h], before.logits[s][h]) for s in before.logits for h in ("verb", "noun"))


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4).filter(any), min_size=3, max_size=3))
@settings(max_examples=10, deadline=None)
def test_shared_extractor_passes_equal_separate_forward_passes(rows: list[list[bool]]) -> None:
    model, batch, names = make_recognizer(absent="skip"), make_batch(3), tuple(SPECS)
    having = torch.tensor(rows)
    features = {n: model.encoder(n)(batch.data[n][having[:, i]]) for i, n in enumerate(names) if having[:, i].any()}
    for subset in subsets_of(names)[:6] + subsets_of(names)[-4:]:
        shared = fuse_subset(model, features, having, subset)
        keep = having & torch.tensor([name in subset for name in names])
        some = keep.any(1)
        assert torch.equal(shared["verb"].isnan().all(1), ~some)
        if some.any():
            direct = model({n: v[some] for n, v in batch.data.items()}, {n: keep[some][:, i] for i, n in enumerate(names)})
            torch.testing.assert_close(shared["verb"][some], direct["verb"], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("absent", ["tokens", "one_token"])
def test_what_stands_for_absent_modalities_costs_the_same_however_it_is_learned(absent: str) -> None:
    few, tokens = (count_gflops(make_recognizer(absent=how), SPECS, tuple(SPECS)[:1]) for how in ("skip", "tokens"))
    assert count_gflops(make_recognizer(absent=absent), SPECS, tuple(SPECS)[:1]) == tokens > few
    for dearer in ("rebuilt", "shared"):
        model = make_recognizer(absent=dearer)
        assert count_gflops(model, SPECS, tuple(SPECS)[:1]) > tokens
        cost = measure_cost(model.config, SPECS, LABEL_SIZES, tuple(SPECS)[:1], torch.device("cpu"), repeats=0)
        assert cost.gflops_with_absent_tokens > tokens > cost.gflops


def test_a_sum_of_common_tokens_costs_nothing_for_what_is_absent() -> None:
    one, two = tuple(SPECS)[:1], tuple(SPECS)[:2]
    recognizer = make_recognizer(absent="summed")
    costs = [measure_cost(recognizer.config, SPECS, LABEL_SIZES, subset, torch.device("cpu"), repeats=0) for subset in (one, two)]
    assert all(cost.gflops == pytest.approx(cost.gflops_with_absent_tokens) for cost in costs)
    alone, other, both = (count_gflops(recognizer, SPECS, subset) for subset in (one, two[1:], two))
    tail = alone + other - both  # fusion and heads, once however many there are
    assert 0 < tail < min(alone, other)


def test_costs_follow_the_subset() -> None:
    model = make_recognizer(absent="skip")
    alone = {name: count_gflops(model, SPECS, (name,)) for name in SPECS}
    everything = count_gflops(model, SPECS, tuple(SPECS))
    assert everything > sum(alone.values()) * 0.8 and all(0 < value < everything for value in alone.values())
    assert count_parameters(model) == sum(value.numel() for value in model.parameters())


def test_views_are_averaged_as_probabilities() -> None:
    one, other = random_logits(seed=1), random_logits(seed=2)
    both = average_views([one, other])
    expected = (one.logits[("a",)]["verb"].softmax(1) + other.logits[("a",)]["verb"].softmax(1)) / 2
    torch.testing.assert_close(both.logits[("a",)]["verb"].exp(), expected)
    assert average_views([one]) is one


def test_late_fusion_of_averaged_views_is_the_average_of_late_fusions() -> None:
    views = [random_logits(seed=seed) for seed in range(3)]
    early, late = late_fusion(average_views(views)), average_views([late_fusion(view) for view in views])
    for subset in early.logits:
        torch.testing.assert_close(early.logits[subset]["noun"], late.logits[subset]["noun"])


def test_the_first_look_is_fixed_and_others_follow_from_their_number() -> None:
    assert look(4, 0, 0) is None
    draws = [look(4, view, first).uniform((4,), 0, 1) for view, first in ((1, 0), (1, 0), (2, 0), (1, 64))]  # type: ignore[union-attr]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2]) and not torch.equal(draws[0], draws[3])
    assert not look(64, 1, 0).mirrored.any()  # type: ignore[union-attr]
