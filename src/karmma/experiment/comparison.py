"""`karmma compare`: the methods of finished runs against one of them, sample by sample."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.evaluate import LOGITS, SubsetLogits
from ..evaluation.metrics import headline_of
from ..evaluation.paired import Outcomes, compare_parts, group_samples, join_folds
from ..types import KarmmaError, subset_name


def find_seeds(runs: Sequence[Path]) -> list[int]:
    """The seeds that all runs have. Raises KarmmaError where a directory is no run, or where they have none in common."""
    found = []
    for run in runs:
        names = (re.fullmatch(r"seed(\d+)", path.name) for path in (run.iterdir() if run.is_dir() else ()))
        found.append({int(match[1]) for match in names if match})
        if not found[-1]:
            raise KarmmaError(f"{run}: no directories seed<number>, so no run of karmma")
    common = sorted(set.intersection(*found))
    if not common:
        raise KarmmaError(f"{', '.join(map(str, runs))}: no seed that all of them have")
    return common


def find_methods(runs: Sequence[Path], seeds: Sequence[int], file: str = LOGITS) -> list[str]:
    """Methods that were tested in every run with every seed."""
    tested = [{path.parent.name for path in (run / f"seed{seed}").glob(f"*/{file}")} for run in runs for seed in seeds]
    return sorted(set.intersection(*tested))


def read_outcomes(
    runs: Sequence[Path], seeds: Sequence[int], method: str, metric: str | None = None, file: str = LOGITS
) -> Outcomes:
    """What a method recognised in runs that tested different samples, such as folds; without a metric, actions or the first head.

    Raises KarmmaError for logits that do not say whose they are, a metric that is not there, or a sample tested twice.
    """
    folds, seen = [], dict[str, Path]()
    for run in runs:
        tested = [SubsetLogits.load(run / f"seed{seed}" / method / file) for seed in seeds]
        where = run / f"seed{seeds[0]}" / method / file
        if not tested[0].names:
            again = f"remove it and stages/*.{method}.evaluate*, and run again"
            raise KarmmaError(f"{where}: does not say whose logits these are; {again}")
        twice = [name for name in tested[0].names if name in seen]
        if twice:
            raise KarmmaError(f"{run}: {twice[0]} was tested in {seen[twice[0]]}, too; compare runs of different samples")
        seen |= dict.fromkeys(tested[0].names, run)
        folds.append(outcomes_of(tested, metric, where))
    return join_folds(folds)


def outcomes_of(tested: Sequence[SubsetLogits], metric: str | None, where: Path) -> Outcomes:
    """Of the same samples, one set of logits for each seed."""
    first = tested[0]
    if any(other.names != first.names for other in tested):
        raise KarmmaError(f"{where}: tested on other samples than with another seed")
    metrics = list(next(iter(first.correct.values())))
    metric = metric or headline_of(metrics)
    if metric not in metrics:
        raise KarmmaError(f"{where}: no {metric}; there is: {', '.join(metrics)}")
    hits = {}
    for subset, heads in first.logits.items():
        known = ~next(iter(heads.values())).isnan().any(1).numpy()
        hits[subset_name(subset)] = np.stack(
            [np.where(known, logits.correct[subset][metric].numpy().astype(float), np.nan) for logits in tested]
        )
    groups = group_samples(first.participants, {head: values.tolist() for head, values in first.labels.items()})
    return Outcomes(hits, groups, np.zeros(len(groups), np.int64))


def compare_runs(runs: Sequence[Path], against: str, metric: str | None = None) -> dict[str, Any]:
    """Every method that was tested with all seeds against one of them.

    Raises KarmmaError if that one was not tested or nothing else was, and what `read_outcomes` raises.
    """
    seeds = find_seeds(runs)
    methods = find_methods(runs, seeds)
    if against not in methods:
        there = ", ".join(methods) or "none that was tested with all seeds"
        raise KarmmaError(f"{', '.join(map(str, runs))}: no method {against!r}; there is: {there}")
    if len(methods) < 2:
        raise KarmmaError(f"{', '.join(map(str, runs))}: nothing to compare, {against} alone was tested with all seeds")
    return compare_methods(runs, seeds, methods, against, metric)


def compare_methods(
    runs: Sequence[Path], seeds: Sequence[int], methods: Sequence[str], against: str, metric: str | None = None
) -> dict[str, Any]:
    """Top-1 of methods, and points to one of them in the mean over subsets, by the number of sensors, by subset and by seed."""
    values = {name: read_outcomes(runs, seeds, name, metric) for name in methods}
    return {
        "against": against, "seeds": list(seeds), "samples": len(values[against].groups),
        "groups": int(values[against].groups.max()) + 1, "top1": {name: with_mean(some.top1()) for name, some in values.items()},
        "differences": {name: describe(some, values[against]) for name, some in values.items() if name != against},
    }  # fmt: skip


def with_mean(by_subset: Mapping[str, float]) -> dict[str, float]:
    return {"mean": float(np.nanmean(list(by_subset.values()))), **by_subset}


def describe(values: Outcomes, reference: Outcomes) -> dict[str, Any]:
    """One method's differences, each with its interval."""
    sizes = {subset: subset.count("+") + 1 for subset in reference.hits}
    by_size = {str(size): [subset for subset in sizes if sizes[subset] == size] for size in sorted(set(sizes.values()), reverse=True)}
    parts = {"mean": list(sizes), **by_size, **{subset: [subset] for subset in sizes}}
    found = {name: asdict(difference) for name, difference in compare_parts(values, reference, parts).items()}
    by_seed = np.mean([np.nanmean(values.hits[subset] - reference.hits[subset], 1) for subset in sizes if subset in found], 0)
    return {
        "mean": found["mean"],
        "by_sensors": {size: found[size] for size in by_size if size in found},
        "by_subset": {subset: found[subset] for subset in sizes if subset in found},
        "by_seed": (100 * by_seed).tolist(),
    }
