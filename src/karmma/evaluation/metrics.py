"""Recognition metrics from logits: top-k accuracy per head and of actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

ACTION = "action"


def in_top_k(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether fewer than k classes score higher than the true one, per sample `(samples,)` bool; ties count against it."""
    own = scores.gather(1, labels[:, None])
    better = (scores > own).sum(1) + ((scores == own).sum(1) - 1)
    return better < k


def action_scores(logits: Mapping[str, Tensor]) -> Tensor:
    """Joint log-probabilities `(samples, verbs · nouns)` of verb-noun pairs, independent given the clip."""
    verb, noun = logits["verb"].double().log_softmax(-1), logits["noun"].double().log_softmax(-1)
    return (verb[:, :, None] + noun[:, None, :]).flatten(1)


def scored_heads(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Scores and labels of every head and, with verbs and nouns, of their pairs as `action`."""
    heads = {head: (values.double(), labels[head]) for head, values in logits.items()}
    if set(logits) >= {"verb", "noun"}:
        heads[ACTION] = (action_scores(logits), labels["verb"] * logits["noun"].shape[1] + labels["noun"])
    return heads


def correctness(
    logits: Mapping[str, Tensor], labels: Mapping[str, Tensor], tops: tuple[int, ...] = (1, 5)
) -> dict[str, Tensor]:
    """Per sample, whether the truth is in the top k: `verb_top1`, `verb_top5`, …, `action_top5`, each `(samples,)` bool."""
    heads = scored_heads(logits, labels)
    return {f"{head}_top{k}": in_top_k(scores, truth, k) for head, (scores, truth) in heads.items() for k in tops}


def accuracies(correct: Mapping[str, Tensor], rows: Tensor) -> dict[str, float | None]:
    """Shares of correct samples among the marked `rows` `(samples,)`, in percent; None where no sample is marked."""
    return {name: 100 * float(flags[rows].double().mean()) if rows.any() else None for name, flags in correct.items()}


def headline_of(metrics: Sequence[str]) -> str:
    """Of some metrics the one to show first: actions where there are any, else the first head."""
    return f"{ACTION}_top1" if f"{ACTION}_top1" in metrics else metrics[0]


def mean_of(values: Iterable[float | None]) -> float | None:
    """Mean of what was measured; None if nothing was."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def retention(by_subset: Mapping[tuple[str, ...], float | None], complete: tuple[str, ...]) -> float | None:
    """Mean over incomplete subsets divided by the accuracy with everything there; None if either is undefined."""
    incomplete = mean_of(value for subset, value in by_subset.items() if subset != complete)
    whole = by_subset[complete]
    return incomplete / whole if incomplete is not None and whole else None


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Counts `(classes, classes)`: rows are the truth, columns the answers."""
    classes = logits.shape[1]
    return torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2).view(classes, classes)
