"""What recipes/utd_mhad.yaml reaches on folds over its training subjects: the estimate for the subjects nobody has seen.

python benchmarks/folds_utd.py UTD_ROOT WORK_DIR [--folds 1,3,5,7] [--seeds 0] [--only karmma,baseline_dropout] [KEY=VALUE ...]

One process and thread per fold, as many at once as there are cores. The official test subjects are never read. Models whose
random kernels vote are tested without these votes, too, and so are the votes alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from paired import RECIPE, Correct, compare, fold_arguments, fold_overrides, numbers, over_folds, summarise
from recording import RESULTS, write_result
from torch import nn

from karmma.config import Recipe, load_recipe
from karmma.evaluation.evaluate import several_views, subset_logits
from karmma.evaluation.plots import plot_subsets, save_png
from karmma.experiment.context import Context
from karmma.experiment.run import run
from karmma.experiment.testing import FIXED_LOGITS, LOGITS
from karmma.models.checkpoint import load_checkpoint

REFERENCES = ("baseline_dropout", "own_votes")  # arms that the others are compared with, where they were run
SHOWN = ("karmma", *REFERENCES, "specialists", "baseline", "uniform", "early_fusion")  # in the picture
NETWORK, KERNELS = "logits-network.safetensors", "logits-kernels.safetensors"  # of a model's two parts alone


def run_fold(job: tuple[Path, Path, int, list[int], list[str], list[str]]) -> dict[str, float]:
    """Train and test one fold; returns seconds per stage."""
    torch.set_num_threads(1)
    root, directory, fold, seeds, names, overrides = job
    recipe = load_recipe(RECIPE, [*fold_overrides(root, fold), f"seeds={seeds}", "methods.tutors.tested=true", *overrides])
    recipe = recipe.only(names)
    results = run(recipe, directory)
    for where in (directory / f"seed{seed}" / name for seed in seeds for name in names):
        if (where / "config.json").exists():
            test_parts(recipe, directory, where)
    return dict(results["seconds"])


def test_parts(recipe: Recipe, directory: Path, where: Path) -> None:
    """Logits of a model's network without its random kernels, and of the kernels without the network."""
    if (where / KERNELS).exists() or not load_checkpoint(where)[0].kernels:
        return
    store = Context(recipe, directory).read_clips("validation")
    for file in (NETWORK, KERNELS):
        model, _ = load_checkpoint(where)
        if file == NETWORK:
            model.kernels.clear()
        else:
            for parameter in (*model.heads.heads.parameters(), *model.own_heads.parameters()):
                nn.init.zeros_(parameter)
        see, untold = partial(subset_logits, model, store), lambda done, total: None
        several_views(see, recipe.evaluation.views, untold)[1].save(where / file)


def summaries(values: dict[str, Correct]) -> dict[str, dict[str, float]]:
    return {name: summarise(rows) for name, rows in values.items()}


def draw(top1: dict[str, dict[str, float]], networks: dict[str, dict[str, float]], path: Path) -> None:
    """One row per subset, one dot per arm: the student with and without random kernels, and whom it is compared with."""
    shown = {name: top1[name] for name in SHOWN if name in top1}
    if "karmma" in networks:
        shown["KARMMA, no random kernels"] = networks["karmma"]
    methods = {
        name: {"subsets": {key: {"action_top1": {"mean": value, "std": 0}} for key, value in rows.items()}}
        for name, rows in shown.items()
    }
    save_png(plot_subsets({"methods": methods}, "action_top1"), path)


def main() -> None:
    parser = fold_arguments(__doc__)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", default="karmma,own_votes,baseline_dropout")
    parser.add_argument("--name", default="folds_utd", help="of the file in results/")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    folds, seeds, names = numbers(options.folds), numbers(options.seeds), options.only.split(",")
    directories = [options.work.resolve() / f"fold{fold}" for fold in folds]
    jobs = [
        (options.root.resolve(), directory, fold, seeds, names, options.overrides)
        for directory, fold in zip(directories, folds, strict=True)
    ]
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(jobs)), mp_context=get_context("spawn")) as pool:
        seconds = [round(sum(stages.values())) for stages in pool.map(run_fold, jobs)]
    first = directories[0] / f"seed{seeds[0]}"
    arms = [path.name for path in sorted(first.iterdir()) if (path / LOGITS).exists()]

    def found(file: str, some: Sequence[Path] = directories, of: Sequence[int] = seeds) -> dict[str, Correct]:
        return {name: over_folds(some, of, name, file) for name in arms if (first / name / file).exists()}

    values, network, kernels = found(LOGITS), found(NETWORK), found(KERNELS)
    result = {
        "folds": folds, "seeds": seeds, "overrides": options.overrides, "seconds_per_fold_one_thread": seconds,
        "top1": summaries(values), "top1_of_a_single_view": summaries(found(FIXED_LOGITS)),
        "top1_of_networks_alone": summaries(network), "top1_of_random_kernels_alone": summaries(kernels),
        "top1_by_fold": {
            str(fold): summaries(found(LOGITS, [where])) for fold, where in zip(folds, directories, strict=True)
        },
        "top1_by_seed": {str(seed): summaries(found(LOGITS, of=[seed])) for seed in seeds},
        "kernels_add": {name: compare(values[name], rows) for name, rows in network.items()},
    }  # fmt: skip
    for reference in REFERENCES:
        for title, rows in (("", values), ("networks_", network)):
            if reference in rows:
                result[f"{title}against_{reference}"] = {
                    name: compare(some, rows[reference]) for name, some in rows.items() if name != reference
                }
    draw(result["top1"], result["top1_of_networks_alone"], RESULTS / f"{options.name}.png")
    write_result(options.name, result)


if __name__ == "__main__":
    main()
