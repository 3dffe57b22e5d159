"""What recipes/utd_mhad.yaml reaches on folds over its training subjects: the estimate for the subjects nobody has seen.

python benchmarks/folds_utd.py UTD_ROOT WORK_DIR [--folds 1,3,5,7] [--only karmma,baseline_dropout] [KEY=VALUE ...]

One process and thread per fold, as many at once as there are cores. The official test subjects are never read.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from paired import RECIPE, compare, fold_arguments, fold_overrides, numbers, over_folds, summarise
from recording import write_result

from karmma.experiment.testing import FIXED_LOGITS, LOGITS

REFERENCE = "baseline_dropout"


def run_fold(job: tuple[Path, Path, int, list[str], list[str]]) -> dict[str, float]:
    """Train and test one fold; returns seconds per stage."""
    from karmma.config import load_recipe
    from karmma.experiment.run import run

    torch.set_num_threads(1)
    root, directory, fold, names, overrides = job
    results = run(load_recipe(RECIPE, [*fold_overrides(root, fold), *overrides]).only(names), directory)
    return dict(results["seconds"])


def main() -> None:
    parser = fold_arguments(__doc__)
    parser.add_argument("--only", default="karmma,baseline_dropout")
    parser.add_argument("--name", default="folds_utd", help="of the file in results/")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    folds, names = numbers(options.folds), options.only.split(",")
    directories = [options.work.resolve() / f"fold{fold}" for fold in folds]
    jobs = [
        (options.root.resolve(), directory, fold, names, options.overrides)
        for directory, fold in zip(directories, folds, strict=True)
    ]
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(jobs)), mp_context=get_context("spawn")) as pool:
        seconds = [round(sum(stages.values())) for stages in pool.map(run_fold, jobs)]
    arms = [path.name for path in sorted((directories[0] / "seed0").iterdir()) if (path / LOGITS).exists()]
    values = {name: over_folds(directories, (0,), name) for name in arms}
    single = {
        name: summarise(over_folds(directories, (0,), name, FIXED_LOGITS))
        for name in arms
        if (directories[0] / "seed0" / name / FIXED_LOGITS).exists()
    }
    by_fold = {
        name: {str(fold): summarise(over_folds([where], (0,), name)) for fold, where in zip(folds, directories, strict=True)}
        for name in arms
    }
    result = {
        "folds": folds, "seeds": 1, "overrides": options.overrides, "seconds_per_fold_one_thread": seconds,
        "top1": {name: summarise(rows) for name, rows in values.items()}, "top1_by_fold": by_fold,
        "top1_of_a_single_view": single,
    }  # fmt: skip
    if REFERENCE in values:
        result["against_baseline_dropout"] = {
            name: compare(rows, values[REFERENCE]) for name, rows in values.items() if name != REFERENCE
        }
    write_result(options.name, result)


if __name__ == "__main__":
    main()
