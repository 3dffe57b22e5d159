"""What recipes/utd_mhad.yaml reaches on folds over its training subjects: the estimate for the subjects nobody has seen.

python benchmarks/folds_utd.py UTD_ROOT WORK_DIR [--folds 1,3,5,7] [--seeds 0] [--only karmma,…] [--pool NAME,…] [KEY=VALUE ...]

One process and thread per fold, as many at once as there are cores. The official test subjects are never read. Models whose
random kernels vote are tested without these votes, too, and so are the votes alone. `--pool` puts the seeds of earlier results
(results/NAME.json and .npz, of the same overrides and folds) beside those trained here, or their folds, where seeds are the same,
or arms that were not trained here, where both are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from folds import (
    RECIPE,
    compare,
    fold_arguments,
    fold_overrides,
    join_seeds,
    load_outcomes,
    numbers,
    rounded,
    save_outcomes,
    some_of,
    summarise,
)
from recording import RESULTS, write_result
from torch import nn

from karmma.config import Recipe, load_recipe
from karmma.evaluation.evaluate import FIXED_LOGITS, LOGITS, several_views, subset_logits
from karmma.evaluation.paired import Outcomes, join_folds
from karmma.evaluation.plots import plot_subsets, save_png
from karmma.experiment.comparison import describe as describe_difference
from karmma.experiment.comparison import find_methods, read_outcomes
from karmma.experiment.context import Context
from karmma.experiment.run import run
from karmma.models.checkpoint import load_checkpoint

REFERENCES = ("karmma", "baseline_dropout", "own_votes", "specialists")  # arms that the others are compared with, where they were run
SHOWN = (*REFERENCES, "baseline", "uniform", "early_fusion")  # first in the picture
NETWORK, KERNELS = "logits-network.safetensors", "logits-kernels.safetensors"  # of a model's two parts alone
PARTS = {"whole": LOGITS, "single_view": FIXED_LOGITS, "network": NETWORK, "kernels": KERNELS}


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


def read_folds(directories: list[Path], seeds: list[int]) -> dict[str, Outcomes]:
    """What every arm that was tested in all folds recognised, `whole/karmma` and so on for each part."""
    return {
        f"{part}/{arm}": read_outcomes(directories, seeds, arm, file=file)
        for part, file in PARTS.items() for arm in find_methods(directories, seeds, file)
    }  # fmt: skip


def of_part(found: Mapping[str, Outcomes], part: str) -> dict[str, Outcomes]:
    return {key.removeprefix(f"{part}/"): outcomes for key, outcomes in found.items() if key.startswith(f"{part}/")}


def describe(found: Mapping[str, Outcomes], folds: list[int], seeds: list[int]) -> dict[str, Any]:
    """Top-1 of whole models and of their parts, and how far they are apart."""
    whole, network = of_part(found, "whole"), of_part(found, "network")
    result: dict[str, Any] = {
        "top1": summaries(whole), "top1_of_a_single_view": summaries(of_part(found, "single_view")),
        "top1_of_networks_alone": summaries(network), "top1_of_random_kernels_alone": summaries(of_part(found, "kernels")),
        "top1_by_fold": {
            str(fold): summaries({arm: some_of(rows, fold=number) for arm, rows in whole.items()}) for number, fold in enumerate(folds)
        },
        "top1_by_seed": {
            str(seed): summaries({arm: some_of(rows, slice(row, row + 1)) for arm, rows in whole.items()})
            for row, seed in enumerate(seeds)
        },
        "kernels_add": {arm: compare(whole[arm], rows) for arm, rows in network.items()},
    }  # fmt: skip
    for reference in REFERENCES:
        for title, rows in (("", whole), ("networks_", network)):
            if reference in rows:
                others = {arm: some for arm, some in rows.items() if arm != reference}
                result[f"{title}against_{reference}"] = {arm: against(some, rows[reference]) for arm, some in others.items()}
    return result


def against(values: Outcomes, reference: Outcomes) -> dict[str, Any]:
    """The difference in the mean, by the number of sensors, by subset and by seed."""
    found = describe_difference(values, reference)
    tables = {key: {name: rounded(row) for name, row in found[key].items()} for key in ("by_sensors", "by_subset")}
    return {**rounded(found["mean"]), **tables, "by_seed": [round(value, 2) for value in found["by_seed"]]}


def summaries(values: Mapping[str, Outcomes]) -> dict[str, dict[str, float]]:
    return {name: summarise(rows) for name, rows in values.items()}


def draw(top1: dict[str, dict[str, float]], networks: dict[str, dict[str, float]], path: Path) -> None:
    """One row per subset, one dot per arm: the student with and without random kernels, and whom it is compared with."""
    names = [name for name in SHOWN if name in top1]
    shown = {name: top1[name] for name in [*names, *(name for name in top1 if name not in (*names, "tutors"))]}
    if "karmma" in networks:
        shown["KARMMA, no random kernels"] = networks["karmma"]
    methods = {
        name: {"subsets": {key: {"action_top1": {"mean": value, "std": 0}} for key, value in rows.items()}}
        for name, rows in shown.items()
    }
    save_png(plot_subsets({"methods": methods}, "action_top1"), path)


def pooled(
    name: str, overrides: list[str], found: dict[str, Outcomes], folds: list[int], seeds: list[int]
) -> tuple[dict[str, Outcomes], list[int], list[int]]:
    """What an earlier result and this one have in common, with the seeds or the folds of both; or the arms of both."""
    other, before = json.loads((RESULTS / f"{name}.json").read_text()), load_outcomes(RESULTS / f"{name}.npz")
    if (other["overrides"], other["folds"], other["seeds"]) == (overrides, folds, seeds):
        return {**before, **found}, folds, seeds
    if other["overrides"] == overrides and other["folds"] == folds:
        return join_seeds([before, found]), folds, other["seeds"] + seeds
    if other["overrides"] == overrides and other["seeds"] == seeds and not {*other["folds"]} & {*folds}:
        joined = {key: join_folds([rows, found[key]]) for key, rows in before.items() if key in found}
        return joined, other["folds"] + folds, seeds
    raise ValueError(f"{name}: folds {other['folds']}, seeds {other['seeds']}, overrides {other['overrides']} do not go with these")


def main() -> None:
    parser = fold_arguments(__doc__)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", default="karmma,own_votes,baseline_dropout")
    parser.add_argument("--name", default="folds_utd", help="of the file in results/")
    parser.add_argument("--pool", default="", help="earlier results whose seeds or folds count, too")
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
    found = read_folds(directories, seeds)
    for name in filter(None, options.pool.split(",")):
        found, folds, seeds = pooled(name, options.overrides, found, folds, seeds)
    head = {"folds": folds, "seeds": seeds, "pooled": options.pool, "overrides": options.overrides}
    result = {**head, "seconds_per_fold_one_thread": seconds, **describe(found, folds, seeds)}
    save_outcomes(RESULTS / f"{options.name}.npz", found)
    draw(result["top1"], result["top1_of_networks_alone"], RESULTS / f"{options.name}.png")
    write_result(options.name, result)


if __name__ == "__main__":
    main()
