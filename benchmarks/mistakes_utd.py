"""What is taken for what: the trials that an arm of a fold experiment does not recognise, by subset and person left out.

python benchmarks/mistakes_utd.py WORK_DIR [--folds 1,3,5,7] [--seed 4] [--arms karmma] [--name mistakes_utd]

WORK_DIR is where folds_utd.py worked.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from folds import numbers
from recording import write_result

from karmma.evaluation.evaluate import LOGITS, SubsetLogits
from karmma.models.checkpoint import load_checkpoint
from karmma.types import subset_name


def mistakes_of(directory: Path) -> dict[str, dict[str, int]]:
    """How often an action was taken for another one, the most frequent first, by subset."""
    logits, (_, info) = SubsetLogits.load(directory / LOGITS), load_checkpoint(directory)
    names, truth = info.labels.names["action"], logits.labels["action"].tolist()
    found = {}
    for subset, heads in logits.logits.items():
        pairs = zip(truth, heads["action"].argmax(-1).tolist(), strict=True)
        counts = Counter(f"{names[true]} → {names[answer]}" for true, answer in pairs if true != answer)
        found[subset_name(subset)] = dict(counts.most_common())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--folds", default="1,3,5,7")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--arms", default="karmma")
    parser.add_argument("--name", default="mistakes_utd")
    options = parser.parse_args()
    folds = numbers(options.folds)
    mistakes = {
        arm: {str(fold): mistakes_of(options.work / f"fold{fold}" / f"seed{options.seed}" / arm) for fold in folds}
        for arm in options.arms.split(",")
    }
    write_result(options.name, {"seed": options.seed, "mistakes": mistakes})


if __name__ == "__main__":
    main()
