"""What fold experiments share: recipe and arguments, correctness per trial over folds and seeds, paired bootstrap intervals."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from karmma.evaluation.evaluate import SubsetLogits
from karmma.experiment.testing import LOGITS
from karmma.types import subset_name

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "utd_mhad.yaml"
DRAWS = 4000
Correct = dict[str, np.ndarray[Any, Any]]  # per subset: share of seeds in which each trial was recognised


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


def correctness(directory: Path, seeds: Sequence[int], name: str, file: str) -> Correct:
    """Of one run directory and method."""
    runs = [SubsetLogits.load(directory / f"seed{seed}" / name / file).correct for seed in seeds]
    return {
        subset_name(subset): np.mean([run[subset]["action_top1"].numpy().astype(float) for run in runs], 0)
        for subset in runs[0]
    }  # fmt: skip


def over_folds(directories: Sequence[Path], seeds: Sequence[int], name: str, file: str = LOGITS) -> Correct:
    """All trials of all folds, each tested where it was left out."""
    rows = [correctness(directory, seeds, name, file) for directory in directories]
    return {subset: np.concatenate([row[subset] for row in rows]) for subset in rows[0]}


def compare(values: Correct, reference: Correct) -> dict[str, float]:
    """Points by which the mean over subsets differs, and its 95 % interval over resampled trials."""
    difference = 100 * np.mean([values[subset] - reference[subset] for subset in reference], 0)
    rows = np.random.default_rng(0).integers(len(difference), size=(DRAWS, len(difference)))
    low, high = np.percentile(difference[rows].mean(1), [2.5, 97.5])
    return {"difference": round(float(difference.mean()), 2), "low": round(float(low), 2), "high": round(float(high), 2)}


def summarise(values: Correct) -> dict[str, float]:
    """Percent by subset, their mean, and the mean of the incomplete ones."""
    subsets = {subset: round(100 * float(row.mean()), 2) for subset, row in values.items()}
    incomplete = list(subsets.values())[1:]
    return subsets | {
        "mean": round(float(np.mean(list(subsets.values()))), 2),
        "mean of incomplete": round(float(np.mean(incomplete)), 2),
    }  # fmt: skip
