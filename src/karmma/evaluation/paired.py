"""How far apart two methods are on the same samples, with a 95 % interval that knows what falls together.

Samples are no independent witnesses: a person does one thing in one manner, so that clips of the same participant and labels
are recognised or missed together. The bootstrap therefore draws such groups, and what trainings with other seeds differ by
beyond that widens its interval (the random effects of a two-way analysis of variance).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS, PIECES = 4000, 8  # a piece of the draws at once: a large set has thousands of groups


@dataclass(frozen=True)
class Outcomes:
    """Which samples a method recognised, with each seed it was trained with.

    `hits[subset]` `(seeds, samples)` of 0 and 1; NaN where a sample has nothing of the subset. Samples of the same number in
    `groups` `(samples,)` fall together; those of the same number in `folds` `(samples,)` were tested by the same trainings.
    """

    hits: Mapping[str, NDArray[np.float64]]
    groups: NDArray[np.int64]
    folds: NDArray[np.int64]

    def top1(self) -> dict[str, float]:
        """Percent recognised by subset, over all seeds and samples that have something of it; NaN where none has."""
        return {
            subset: 100 * float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
            for subset, values in self.hits.items()
        }


@dataclass(frozen=True)
class Difference:
    """Points by which one method is ahead of another, and the 95 % interval."""

    difference: float
    low: float
    high: float


def group_samples(participants: Sequence[str], labels: Mapping[str, Sequence[int]]) -> NDArray[np.int64]:
    """A number `(samples,)` for each participant and labels; a sample whose participant nobody names is alone."""
    keys = [
        (person, *marks) if person else (row,)
        for row, (person, *marks) in enumerate(zip(participants, *labels.values(), strict=True))
    ]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.int64)


def join_folds(parts: Sequence[Outcomes]) -> Outcomes:
    """All samples of several parts with one fold or more, each of which was tested by trainings of its own."""
    return Outcomes(
        {subset: np.concatenate([part.hits[subset] for part in parts], 1) for subset in parts[0].hits},
        numbered_on([part.groups for part in parts]),
        numbered_on([part.folds for part in parts]),
    )


def numbered_on(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """All numbers in a row, those of each part above those before it."""
    firsts = np.cumsum([0, *(int(part.max()) + 1 for part in parts[:-1])])
    return np.concatenate([part + first for part, first in zip(parts, firsts, strict=True)])


def compare(values: Outcomes, reference: Outcomes) -> Difference:
    """Points by which `values` are ahead in the mean over all subsets. Both have the same seeds and samples, in the same order."""
    return compare_parts(values, reference, {"mean": list(reference.hits)})["mean"]


def compare_parts(
    values: Outcomes, reference: Outcomes, parts: Mapping[str, Sequence[str]]
) -> dict[str, Difference]:
    """The same in the mean over each part's subsets, all from the same draws. Subsets that no sample has anything of do not count."""
    known = [subset for subset, rows in reference.hits.items() if not np.isnan(rows).all()]
    differences = np.stack([values.hits[subset] - reference.hits[subset] for subset in known])
    sums, counts = by_group(100 * differences, reference.groups)
    folds = fold_of_groups(reference)
    drawn = draw_levels(sums.mean(1), counts, folds)
    added = influences(sums, counts)
    columns = {name: [known.index(subset) for subset in part if subset in known] for name, part in parts.items()}
    levels = sums.mean(1).sum(1) / counts.sum(1)
    return {
        name: difference_of(levels[some].mean(), drawn_means(drawn[:, some]), seed_variance(added[some].mean(0), folds))
        for name, some in columns.items() if some
    }  # fmt: skip


def difference_of(middle: float, drawn: NDArray[np.float64], seed_variance: float) -> Difference:
    """The draws' percentiles, wider by what seeds add to their variance."""
    wider = np.sqrt(1 + seed_variance / drawn.var()) if drawn.var() else 1.0
    low, high = middle + wider * (np.percentile(drawn, [2.5, 97.5]) - middle)
    return Difference(float(middle), float(low), float(high))


def by_group(values: NDArray[np.float64], groups: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums `(subsets, seeds, groups)` and counts `(subsets, groups)` of what was measured, of values `(subsets, seeds, samples)`."""
    order = np.argsort(groups, kind="stable")
    firsts = np.searchsorted(groups[order], np.arange(int(groups.max()) + 1))
    sums = np.add.reduceat(np.nan_to_num(values)[..., order], firsts, -1)
    return sums, np.add.reduceat((~np.isnan(values[:, 0]))[:, order].astype(float), firsts, -1)


def fold_of_groups(outcomes: Outcomes) -> NDArray[np.int64]:
    folds = np.zeros(int(outcomes.groups.max()) + 1, np.int64)
    folds[outcomes.groups] = outcomes.folds
    return folds


def draw_levels(sums: NDArray[np.float64], counts: NDArray[np.float64], folds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means `(draws, subsets)` of groups drawn with replacement, as many of each fold as it has.

    NaN where a draw has no sample of a subset.
    """
    generator, levels = np.random.default_rng(0), []
    sizes = [(fold, int((folds == fold).sum())) for fold in np.unique(folds)]
    for _ in range(PIECES):
        times = np.zeros((DRAWS // PIECES, len(folds)))
        for fold, size in sizes:
            times[:, folds == fold] = generator.multinomial(size, np.full(size, 1 / size), DRAWS // PIECES)
        drawn = times @ counts.T
        levels.append(np.divide(times @ sums.T, drawn, out=np.full_like(drawn, np.nan), where=drawn > 0))
    return np.concatenate(levels)


def drawn_means(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means `(draws,)` over the subsets that a draw has samples of; draws that have none of any are left out."""
    return np.asarray(np.nanmean(levels[~np.isnan(levels).all(1)], 1))


def influences(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each seed and group `(subsets, seeds, groups)` adds to a subset's mean; a seed's sum is its distance from the mean."""
    levels = sums.mean(1).sum(1) / counts.sum(1)
    return np.asarray((sums - (levels[:, None] * counts)[:, None]) / counts.sum(1)[:, None, None])


def seed_variance(added: NDArray[np.float64], folds: NDArray[np.int64]) -> float:
    """Variance of the mean by seeds alone: what they differ by beyond groups that change sides, at least 0.

    A seed is another training in every fold.
    """
    seeds = len(added)
    if seeds == 1:
        return 0.0
    variance = 0.0
    for fold in np.unique(folds):
        part = added[:, folds == fold]
        size = part.shape[1]
        rest = part - part.mean(0) - part.mean(1, keepdims=True) + part.mean()
        noise = size * np.square(rest).sum() / ((seeds - 1) * max(size - 1, 1))
        variance += (part.sum(1).var(ddof=1) - noise) / seeds
    return max(float(variance), 0.0)
