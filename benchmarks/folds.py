"""What fold experiments share: recipe and arguments, what was recognised over folds and seeds, differences with intervals."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from karmma.evaluation import paired
from karmma.evaluation.paired import Outcomes

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "utd_mhad.yaml"


def fold_arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser of what every fold experiment is told: data, where to work, which subjects to leave out."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("root", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--folds", default="1,3,5,7")
    return parser


def numbers(text: str) -> list[int]:
    """Of a list with commas; '' is none."""
    return [int(number) for number in text.split(",") if number]


def fold_overrides(root: Path, fold: int) -> list[str]:
    """What makes a recipe leave one training subject out and test on that one."""
    return [f"data.root={root}", f"data.settings.fold={fold}", "evaluation.split=validation", "data.workers=1"]


def save_outcomes(path: Path, found: Mapping[str, Outcomes]) -> None:
    """Every trial's fate by a key, in one file of a few kilobytes, so that further seeds can be put beside these."""
    first = next(iter(found.values()))
    hits = {
        f"{key}:{subset}": np.where(np.isnan(rows), -1, rows).astype(np.int8)  # -1: a trial that has nothing of the subset
        for key, outcomes in found.items() for subset, rows in outcomes.hits.items()
    }  # fmt: skip
    np.savez_compressed(path, allow_pickle=False, groups=first.groups, folds=first.folds, **hits)


def load_outcomes(path: Path) -> dict[str, Outcomes]:
    """What `save_outcomes` wrote."""
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    with np.load(path) as content:
        for name in content.files:
            key, _, subset = name.partition(":")
            if subset:
                found.setdefault(key, {})[subset] = np.where(content[name] < 0, np.nan, content[name].astype(float))
        return {key: Outcomes(hits, content["groups"], content["folds"]) for key, hits in found.items()}


def join_seeds(several: Sequence[Mapping[str, Outcomes]]) -> dict[str, Outcomes]:
    """The same trials with the seeds of all, for the keys that all have. Raises ValueError for other trials."""
    first = several[0]
    joined = {}
    for key in (key for key in first if all(key in found for found in several)):
        parts = [found[key] for found in several]
        if any(not np.array_equal(part.groups, parts[0].groups) for part in parts):
            raise ValueError(f"{key}: other trials")
        hits = {subset: np.concatenate([part.hits[subset] for part in parts]) for subset in parts[0].hits}
        joined[key] = Outcomes(hits, parts[0].groups, parts[0].folds)
    return joined


def some_of(outcomes: Outcomes, seeds: slice | list[int] = slice(None), fold: int | None = None) -> Outcomes:
    """Some seeds (rows) and one fold of what was recognised."""
    rows = np.ones(len(outcomes.folds), bool) if fold is None else outcomes.folds == fold
    hits = {subset: values[seeds][:, rows] for subset, values in outcomes.hits.items()}
    return Outcomes(hits, outcomes.groups[rows], outcomes.folds[rows])


def compare(values: Outcomes, reference: Outcomes) -> dict[str, float]:
    """Points by which the mean over subsets differs, and its 95 % interval."""
    return rounded(asdict(paired.compare(values, reference)))


def rounded(row: Mapping[str, float]) -> dict[str, float]:
    return {key: round(value, 2) for key, value in row.items()}


def summarise(values: Outcomes) -> dict[str, float]:
    """Percent by subset, their mean, and the mean of the incomplete ones."""
    subsets = {subset: round(percent, 2) for subset, percent in values.top1().items()}
    incomplete = list(subsets.values())[1:]
    return subsets | {
        "mean": round(float(np.mean(list(subsets.values()))), 2),
        "mean of incomplete": round(float(np.mean(incomplete)), 2),
    }  # fmt: skip
