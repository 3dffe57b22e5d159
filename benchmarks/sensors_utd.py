"""What one sensor alone reaches on folds over UTD-MHAD's training subjects, for every way to read or train it that was weighed.

python benchmarks/sensors_utd.py UTD_ROOT WORK_DIR [--folds 1,3,5,7] [--seeds 0,1,2] [--sensors imu,skeleton,depth]
                                 [--variants "recipe,no vigour,…"]

Extractors with pooled linear heads, trained as the recipe pre-trains the student's. Each variant differs from the recipe
in the overrides that are named; intervals as in karmma.evaluation.paired. Finished models are not trained again,
and results of other sensors stay in the file. The official test subjects are never read.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from folds import RECIPE, compare, fold_arguments, fold_overrides, numbers
from numpy.typing import NDArray
from recording import RESULTS, write_result

from karmma.config import EncoderConfig, load_recipe
from karmma.data.clips import ClipStore
from karmma.evaluation.evaluate import look
from karmma.evaluation.paired import Outcomes, group_samples, join_folds
from karmma.experiment.context import STUDENT, Context
from karmma.experiment.pretraining import pretraining_task
from karmma.files import replacing
from karmma.models.encoders.skeleton import SkeletonEncoder
from karmma.models.unimodal import UnimodalClassifier
from karmma.progress import Progress
from karmma.skeletons import LAYOUTS
from karmma.training.fit import fit
from karmma.types import ModalitySpec

DEFAULT = "recipe"
VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "imu": {
        DEFAULT: (),
        "no drifting pace": ("modalities.imu.pace=0",),
        "no vigour": ("modalities.imu.vigour=0",),
        "neither": ("modalities.imu.pace=0", "modalities.imu.vigour=0"),
    },
    "skeleton": {
        DEFAULT: (),
        "no exchange of styles": ("student.recognizer.encoders.skeleton.mix_styles=0",),
        "no distances between joints": ("student.recognizer.encoders.skeleton.kind=sensors_utd:skeleton_without_distances",),
    },
    "depth": {
        DEFAULT: (),
        "never turned": ("modalities.depth.turn_degrees=0",),
        "64 pixels": ("modalities.depth.size=64",),
        "40 pixels": ("modalities.depth.size=40",),
        "32 pixels": ("modalities.depth.size=32",),
        "stacks of eight frames": ("student.recognizer.encoders.depth.stack=8",),
        "16 frames by 2": ("modalities.depth.frames=16", "student.recognizer.encoders.depth.stack=2"),
    },
}
Job = tuple[Path, Path, str, str, int, int]


def skeleton_without_distances(spec: ModalitySpec, config: EncoderConfig) -> SkeletonEncoder:
    """The recipe's extractor with nothing where it has distances between joints and their change."""
    encoder = SkeletonEncoder(spec, config)
    seen = torch.ones(encoder.in_norm.num_features, 1)
    seen[-2 * len(LAYOUTS[spec.skeleton].pairs[0]) :] = 0
    encoder.in_norm.register_forward_hook(lambda _, inputs, output: output * seen)
    return encoder


def context_of(root: Path, work: Path, name: str, variant: str, fold: int) -> Context:
    """The recipe with one sensor alone."""
    overrides = VARIANTS[name][variant]
    recipe = load_recipe(RECIPE, [*fold_overrides(root, fold), *overrides])
    recipe = replace(recipe, modalities={name: recipe.modalities[name]})
    key = hashlib.sha256(json.dumps(overrides).encode()).hexdigest()[:8]
    return Context(recipe, work / f"{name}-{key}-fold{fold}")


def recognised(root: Path, work: Path, name: str, variant: str, fold: int, seed: int) -> NDArray[np.bool_]:
    """Whether each trial of the fold was recognised, `(2, trials)`: by one look, and by the recipe's several ones."""
    context = context_of(root, work, name, variant, fold)
    target = context.directory / f"seed{seed}.npy"
    if target.exists():
        return np.asarray(np.load(target))
    model, tested = train(context, name, context.read_clips("train"), seed), context.read_clips("validation")
    looks = torch.stack([look_at(model, tested, view) for view in range(context.recipe.evaluation.views)])
    answers = torch.stack([looks[0], looks.mean(0)]).argmax(-1)
    hits = (answers == tested.labels["action"][tested.usable]).numpy()
    with replacing(target) as temporary:
        np.save(temporary, hits)
    return np.asarray(hits)


def train(context: Context, name: str, store: ClipStore, seed: int) -> UnimodalClassifier:
    """An extractor with heads, as the student's pre-training makes it."""
    config = context.recipe.student.pretraining
    assert config is not None
    task = pretraining_task(context, STUDENT, name, config, store, seed)
    with Progress(f"{context.directory.name}.seed{seed}") as progress:
        fit(task, context.directory / f"training{seed}", progress)
    model: UnimodalClassifier = task.recognizer
    return model.cpu().eval()


@torch.no_grad()
def look_at(model: UnimodalClassifier, store: ClipStore, view: int) -> torch.Tensor:
    """Probabilities `(trials, classes)` of one look."""
    pieces = []
    for first in range(0, len(store.usable), 64):
        rows = store.usable[first : first + 64]
        batch = store.batch(rows, look(len(rows), view, first))
        pieces.append(model(batch.data, batch.present)["action"].softmax(-1))
    return torch.cat(pieces)


def run_job(job: Job) -> None:
    torch.set_num_threads(1)
    recognised(*job)


def chosen_variants(name: str, only: str) -> list[str]:
    """The recipe and, of a sensor's other variants, those that were asked for by name, all if none was."""
    wanted = only.split(",")
    return [variant for variant in VARIANTS[name] if not only or variant == DEFAULT or variant in wanted]


def measure(
    root: Path, work: Path, name: str, variants: list[str], folds: list[int], seeds: list[int]
) -> dict[str, Any]:
    """Top-1 of variants of a sensor, and their differences to the recipe."""
    groups = [groups_of(context_of(root, work, name, DEFAULT, fold)) for fold in folds]

    def looked(variant: str, row: int) -> list[Outcomes]:
        """By fold, what was recognised by one look (row 0) or by nine."""
        hits = [np.stack([recognised(root, work, name, variant, fold, seed)[row] for seed in seeds]) for fold in folds]
        return [Outcomes({name: h.astype(float)}, g, np.zeros_like(g)) for h, g in zip(hits, groups, strict=True)]

    def entry(variant: str) -> dict[str, Any]:
        one, nine = (looked(variant, row) for row in (0, 1))
        joined = {"one_look": join_folds(one), "nine_looks": join_folds(nine)}
        default = {"one_look": join_folds(looked(DEFAULT, 0)), "nine_looks": join_folds(looked(DEFAULT, 1))}
        return {
            "overrides": VARIANTS[name][variant],
            **{what: round(rows.top1()[name], 2) for what, rows in joined.items()},
            "nine_looks_by_fold": [round(part.top1()[name], 2) for part in nine],
            "against_recipe": {what: compare(rows, default[what]) for what, rows in joined.items()},
        }

    return {variant: entry(variant) for variant in variants}


def groups_of(context: Context) -> NDArray[np.int64]:
    """Which trials of the subject left out fall together."""
    store = context.read_clips("validation")
    segments = [store.segments[row] for row in store.usable]
    return group_samples([one.participant for one in segments], {"action": [one.labels["action"] for one in segments]})


def main() -> None:
    parser = fold_arguments(__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--sensors", default="imu,skeleton,depth")
    parser.add_argument("--variants", default="", help="only these, and the recipe itself")
    options = parser.parse_args()
    root, work = options.root.resolve(), options.work.resolve()
    folds, seeds = numbers(options.folds), numbers(options.seeds)
    path = RESULTS / "sensors_utd.json"
    found: dict[str, Any] = json.loads(path.read_text())["sensors"] if path.exists() else {}
    jobs = [
        (root, work, name, variant, fold, seed)
        for name in options.sensors.split(",") for seed in seeds for fold in folds
        for variant in chosen_variants(name, options.variants)
    ]  # fmt: skip
    first = [job for job in jobs if job[-1] == seeds[0]]  # these read the clips that the other seeds share
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
        for some in (first, [job for job in jobs if job not in first]):
            for number, future in enumerate(as_completed([pool.submit(run_job, job) for job in some]), 1):
                future.result()
                print(f"{number} of {len(some)}", flush=True)
    for name in options.sensors.split(","):
        variants = measure(root, work, name, chosen_variants(name, options.variants), folds, seeds)
        found[name] = {"folds": folds, "seeds": seeds, "variants": variants}
    write_result("sensors_utd", {"sensors": found})


if __name__ == "__main__":
    main()
