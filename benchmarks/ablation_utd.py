"""Ablation on UTD-MHAD: every switch of the method against the default, on folds over the training subjects.

python benchmarks/ablation_utd.py UTD_ROOT WORK_DIR [--folds 1,3,5,7] [--seeds 0,1,2] [--recipe-seeds 0,1,2]
    [--only ARM,…] [--name NAME] [KEY=VALUE ...]

Each fold leaves one training subject out; the official test subjects are never read. For every switch the difference to
the default in mean top-1 over the seven subsets, with a 95 % interval (karmma.evaluation.paired). Depth is
much smaller and training shorter than in recipes/utd_mhad.yaml (SMALL), because this trains some three hundred models.
With `--only` it trains the default and the arms and changes of the recipe that are named.
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import yaml
from folds import RECIPE, compare, fold_arguments, fold_overrides, numbers, summarise
from matplotlib.figure import Figure
from recording import RESULTS, write_result

from karmma.evaluation.plots import interval_colour
from karmma.evaluation.tables import title_of
from karmma.experiment.comparison import read_outcomes

SMALL = (
    "modalities.depth.size=32", "modalities.depth.frames=8",
    *(f"{role}.recognizer.encoders.depth.stack=2" for role in ("student", "teacher")),
    *(f"{role}.recognizer.encoders.{name}.width={width}" for role, name, width in (
        ("student", "depth", 16), ("student", "imu", 64), ("student", "skeleton", 64), ("teacher", "depth", 20),
        ("teacher", "imu", 96), ("teacher", "skeleton", 96),
    )),
    "student.recognizer.dim=128", "teacher.recognizer.dim=256", "student.training.epochs=16",
    "teacher.training.epochs=10", "methods.tutors.epochs=8",
    "student.pretraining.epochs=20", "teacher.pretraining.epochs=20", "evaluation.views=1",
    "student.recognizer.kernels=null",  # their votes, alike in all arms, would hide what a switch does to the network
)  # fmt: skip
REFERENCE = "karmma"
MANY_POINTS = 3.0  # from here on an effect is drawn among the large ones
NOT_COMPARED = ("late_fusion", "specialists", "early_fusion", "uniform")  # arms of the recipe that are no switches of a student

HALF = "alpha 0.15"  # a control for trust: believed less, but everywhere alike
# One switch each, as changes of the recipe's method `karmma`.
METHODS: dict[str, dict[str, Any]] = {
    "no distillation": {"distillation": None},
    HALF: {"distillation.alpha": 0.15},
    "alpha 0.7": {"distillation.alpha": 0.7},
    "alpha by trust": {"distillation.alpha_scale": "trust"},
    "alpha 0.7 by trust": {"distillation.alpha": 0.7, "distillation.alpha_scale": "trust"},
    "temperature 1": {"distillation.temperature": 1.0},
    "temperature 4": {"distillation.temperature": 4.0},
    "independent dropout, p = 0.3": {"subsets": "independent", "dropout": 0.3},
    "independent dropout, p = 0.5": {"subsets": "independent", "dropout": 0.5},
    "taught by the fused teacher": {"distillation.teachers": ["teacher"]},
    "tutors see everything": {"distillation.teacher_sees": "all"},
    "absent tokens skipped": {"absent": "skip"},
    "absent modalities vote": {"average": "all"},
    "extractors from pre-training": {"extractors_from": None},
    "own votes learn by the joint loss alone": {"own_weight": 0.0},
}
# What changes more than a method, compared with arms of the same names in the unchanged recipe: changes, arms, and the
# stages that stay as they are.
TAUGHT, UNTAUGHT = "taught by the fused teacher", "no distillation"
UNALIGNED = [REFERENCE, UNTAUGHT, HALF, "alpha by trust", "alpha 0.7 by trust"]
SHARED = ("read.", "pretrain.teacher.", "tokens.")
RECIPES: dict[str, tuple[list[str], list[str], tuple[str, ...]]] = {
    "no own votes": (
        ["student.recognizer.own_votes=false",
         "methods.tutors.own_weight=0", "methods.karmma.own_weight=0"], [REFERENCE], (*SHARED, "pretrain."),
    ),
    "InfoNCE in the teacher, weight 0.1": (["teacher.contrastive_weight=0.1"], [TAUGHT], ("read.", "pretrain.")),
    "no unimodal pre-training": (["student.pretraining=null"], [REFERENCE], SHARED),
    "student of half the width": (
        ["student.recognizer.encoders.imu.width=32", "student.recognizer.encoders.skeleton.width=32",
         "student.recognizer.encoders.depth.width=8", "student.recognizer.dim=64"], [REFERENCE], SHARED,
    ),
    "unaligned: two modalities per trial": (["data.keep_modalities=2"], UNALIGNED, ("read.",)),
    "unaligned: one modality per trial": (["data.keep_modalities=1"], UNALIGNED, ("read.",)),
}  # fmt: skip


def changed(method: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    from karmma.trees import apply_overrides

    tree = json.loads(json.dumps(method))
    for key, value in changes.items():
        if value is None:
            tree.pop(key)
        else:
            apply_overrides(tree, [f"{key}={json.dumps(value)}"])
    return tree


def recipe_of(root: Path, fold: int, seeds: list[int], overrides: list[str], names: list[str] | None) -> Any:
    """The recipe of one fold with every switch as a method of its own."""
    from karmma.config import Recipe
    from karmma.trees import apply_overrides, build, unshared

    tree = unshared(yaml.safe_load(RECIPE.read_text()))
    for name in NOT_COMPARED:
        del tree["methods"][name]
    karmma, tutors = tree["methods"][REFERENCE], tree["methods"]["tutors"]
    tree["methods"] |= {"tutors": tutors | {"tested": True}} | {name: changed(karmma, changes) for name, changes in METHODS.items()}
    if names is not None:
        tree["methods"] = {name: method for name, method in tree["methods"].items() if name in (*names, "tutors")}
    given = [*SMALL, *fold_overrides(root, fold), f"seeds={seeds}", "evaluation.sweep=[]", *overrides]
    recipe = build(Recipe, apply_overrides(tree, given), "ablation")
    return recipe if names is None else recipe.only(names)


def chosen(only: str | None, recipe_seeds: list[int]) -> tuple[list[str] | None, list[str]]:
    """Which methods (None: all), and which changes of the recipe. Raises SystemExit for names that are neither."""
    if only is None:
        return None, list(RECIPES) if recipe_seeds else []
    names = only.split(",")
    if unknown := [name for name in names if name not in (*METHODS, *RECIPES)]:
        raise SystemExit(f"--only: unknown {unknown}; there are {[*METHODS, *RECIPES]}")
    changes = [name for name in names if name in RECIPES] if recipe_seeds else []
    needed = (method for name in changes for method in RECIPES[name][1])
    return list(dict.fromkeys([REFERENCE, *(name for name in names if name in METHODS), *needed])), changes


def run_fold(job: tuple[Path, Path, int, list[int], list[int], list[str] | None, list[str], list[str]]) -> int:
    """Everything of one fold, one thread."""
    from karmma.experiment.run import run

    torch.set_num_threads(1)
    root, work, fold, seeds, recipe_seeds, only, recipes, overrides = job
    main = work / f"fold{fold}"
    run(recipe_of(root, fold, seeds, overrides, only), main)
    for name in recipes:
        changes, methods, shared = RECIPES[name]
        directory = main / "recipes" / name.replace(" ", "_")
        share_stages(main, directory, shared)
        run(recipe_of(root, fold, recipe_seeds, [*overrides, *changes], methods), directory)
    return fold


def share_stages(source: Path, target: Path, stages: tuple[str, ...]) -> None:
    """Let another run use what these stages of the first have made; each still checks the settings it was made with."""
    (target / "stages").mkdir(parents=True, exist_ok=True)
    for made in ("clips", "tokens", "extractors"):
        if any(stage.startswith({"clips": "read", "tokens": "tokens", "extractors": "pretrain"}[made]) for stage in stages):
            shutil.copytree(source / made, target / made, copy_function=link_new, dirs_exist_ok=True)
    for marker in (source / "stages").glob("*.json"):
        if marker.name.startswith(stages):
            (target / "stages" / marker.name).write_text(marker.read_text())


def link_new(source: str, target: str) -> None:
    """Link a file that is not there yet, so that a run can be taken up again."""
    if not Path(target).exists():
        os.link(source, target)


def draw(effects: dict[str, dict[str, Any]], within: dict[str, dict[str, Any]], path: Path) -> None:
    """Each switch's effect with its interval; those of many points on a scale of their own below, and arms of a changed recipe
    against the default of that recipe last."""
    small = {name: effect for name, effect in effects.items() if abs(effect["difference"]) < MANY_POINTS}
    large = {name: effect for name, effect in effects.items() if name not in small}
    ending = f" - {REFERENCE}"
    same = {name.removesuffix(ending): effect | {"against": REFERENCE} for name, effect in within.items() if name.endswith(ending)}
    panels = {
        "difference to the default, or to the arm in brackets": small,
        "the same, where it is of many points": large,
        "difference to the default that was trained on the same unaligned trials": same,
    }
    panels = {title: some for title, some in panels.items() if some}
    figure = Figure(figsize=(10, 0.3 * sum(map(len, panels.values())) + 2.2), layout="constrained")
    rows = figure.subplots(len(panels), squeeze=False, height_ratios=[len(some) + 1 for some in panels.values()])[:, 0]
    for axes, (title, some) in zip(rows, panels.items(), strict=True):
        draw_rows(axes, some)
        axes.set_title(title, fontsize=8, loc="left")
    rows[-1].set_xlabel("points of mean top-1 over the seven subsets (95 % interval)", fontsize=8)
    figure.savefig(path, dpi=130)


def draw_rows(axes: Any, effects: dict[str, dict[str, Any]]) -> None:
    for row, effect in enumerate(effects.values()):
        color = interval_colour(effect)
        axes.plot([effect["low"], effect["high"]], [row, row], color=color, linewidth=2.4, solid_capstyle="round")
        axes.plot(effect["difference"], row, "o", color=color)
    axes.axvline(0, color="#111827", linewidth=0.8)
    axes.set_yticks(range(len(effects)), [label(name, effect["against"]) for name, effect in effects.items()], fontsize=8)
    axes.set_ylim(len(effects) - 0.4, -0.6)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#e5e7eb")
    axes.set_axisbelow(True)


def label(name: str, against: str) -> str:
    """A switch in words, with the arm that it is compared with where that is not the default."""
    switch, _, arm = name.rpartition(", ")
    if arm == against and switch:
        return switch if arm == REFERENCE else f"{switch} ({arm})"
    return title_of(name) if against == REFERENCE else f"{name} ({against})"


def main() -> None:
    parser = fold_arguments(__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--recipe-seeds", default="0,1,2", help="seeds for what changes more than a method; '' leaves it out")
    parser.add_argument("--only", help="arms and changes of the recipe, with commas; all, unless said")
    parser.add_argument("--name", default="ablation_utd", help="of the result")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    root, work, overrides = options.root.resolve(), options.work.resolve(), options.overrides
    folds, seeds, recipe_seeds = (numbers(text) for text in (options.folds, options.seeds, options.recipe_seeds))
    only, recipes = chosen(options.only, recipe_seeds)
    jobs = [(root, work, fold, seeds, recipe_seeds, only, recipes, overrides) for fold in folds]
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(jobs)), mp_context=get_context("spawn")) as pool:
        for fold in pool.map(run_fold, jobs):
            print(f"fold {fold} done", flush=True)
    recipe = recipe_of(root, folds[0], seeds, overrides, only)
    arms = [*(["teacher"] if recipe.train_teacher else []), *recipe.methods]
    runs = [work / f"fold{fold}" for fold in folds]
    values = {name: read_outcomes(runs, seeds, name) for name in arms}
    effects = {
        name: {"against": REFERENCE, "seeds": len(seeds), **compare(values[name], values[REFERENCE])}
        for name in arms
        if name != REFERENCE
    }
    for name in recipes:
        methods = RECIPES[name][1]
        for method in methods:
            title = name if len(methods) == 1 else f"{name}, {method}"
            values[title] = read_outcomes([run / "recipes" / name.replace(" ", "_") for run in runs], recipe_seeds, method)
            unchanged = read_outcomes(runs, recipe_seeds, method)
            effects[title] = {"against": method, "seeds": len(recipe_seeds), **compare(values[title], unchanged)}
    within = {
        f"{name}: {method} - {other}": compare(values[f"{name}, {method}"], values[f"{name}, {other}"])
        for name in recipes if UNTAUGHT in RECIPES[name][1] for other in (REFERENCE, UNTAUGHT, HALF) for method in RECIPES[name][1]
        if method != other
    }  # fmt: skip
    result = {
        "folds": folds, "seeds": seeds, "recipe_seeds": recipe_seeds, "overrides": [*SMALL, *overrides],
        "trials": len(values[REFERENCE].groups),
        "top1": {name: summarise(rows) for name, rows in values.items()}, "effects": effects,
        "within_a_change": within,
    }  # fmt: skip
    write_result(options.name, result)
    draw(effects, within, RESULTS / f"{options.name}.png")


if __name__ == "__main__":
    main()
