"""What a recipe has to be made, in the order in which it is best begun, and what each part of it needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..config import method_references
from ..data.clips import ClipStore
from ..data.tokens import TokenStore
from .arms import Training, arm_settings, train, trainings_of
from .context import STUDENT, TEACHER, Context
from .kernels import kernels_of_seeds, kernels_settings, kernels_stage, prepare_kernels, votes_with_kernels
from .pretraining import extractors_to_pretrain, pretrain, pretraining_settings, pretraining_stage, token_directory
from .testing import evaluate_method, evaluation_settings, evaluation_stage

Work = Callable[[Context, Mapping[str, ClipStore]], None]  # given the clips of each split; can be pickled


@dataclass(frozen=True)
class Job:
    """A stage of a run, with the settings that its marker keeps, and the names of stages that must be done before."""

    stage: str
    settings: Mapping[str, Any]
    work: Work
    needs: frozenset[str] = frozenset()


def preparations(context: Context) -> list[Job]:
    """Pre-training of extractors, then random kernels; those that look at most numbers first."""
    by_size = partial(input_size, context)
    extractors = sorted(extractors_to_pretrain(context), key=lambda item: by_size([item[1]]), reverse=True)
    kernels = sorted(kernels_of_seeds(context), key=lambda item: (-item[0], by_size([item[1]])), reverse=True)
    return [
        *(
            Job(
                pretraining_stage(role, name), pretraining_settings(context, role, name),
                partial(pretrain, role=role, name=name),
            ) for role, name in extractors
        ),
        *(
            Job(kernels_stage(seed, name), kernels_settings(context, name), partial(prepare_kernels, seed=seed, name=name))
            for seed, name in kernels
        ),
    ]  # fmt: skip


def trainings(context: Context) -> list[Job]:
    """Every model of every method, seed by seed: those that are taught first, as they take longest, then by their clips' size."""
    found = [
        training for seed in context.recipe.seeds for name in context.recipe.methods
        for training in trainings_of(context, name, seed)
    ]  # fmt: skip

    def urgency(training: Training) -> tuple[int, bool, int]:
        taught = context.recipe.methods[training.method].distillation is not None
        return -training.seed, taught, input_size(context, training.subset or context.names)

    return [
        Job(one.stage, arm_settings(context, one.method), partial(train_alone, training=one), needs_of(context, one))
        for one in sorted(found, key=urgency, reverse=True)
    ]


def needs_of(context: Context, training: Training) -> frozenset[str]:
    """Extractors, random kernels and other models that a model is built on."""
    method, names = context.recipe.methods[training.method], training.subset or context.names
    stages = {pretraining_stage(STUDENT, name) for name in names}
    if votes_with_kernels(context, method):
        stages |= {kernels_stage(training.seed, name) for name in names}
    for _, other in method_references(method):
        stages |= {one.stage for one in trainings_of(context, other, training.seed)}
    return frozenset(stages)


def evaluations(context: Context) -> list[Job]:
    """Tests of every arm that is to be tested."""
    settings = evaluation_settings(context)
    return [
        Job(evaluation_stage(seed, name), settings, partial(evaluate_method, seed=seed, name=name), tested_after(context, seed, name))
        for seed in context.recipe.seeds for name in context.arms
    ]  # fmt: skip


def tested_after(context: Context, seed: int, name: str) -> frozenset[str]:
    """An arm's models; for late fusion the test of those it is made of. The teacher is there before any job of the methods."""
    if name == TEACHER:
        return frozenset()
    fused = context.recipe.methods[name].late_fusion_of
    if fused is not None:
        return frozenset({evaluation_stage(seed, fused)})
    return frozenset(one.stage for one in trainings_of(context, name, seed))


def input_size(context: Context, names: Collection[str]) -> int:
    """Numbers in a clip of some modalities."""
    return sum(math.prod(context.modalities[name].spec.input_shape) for name in names)


def train_alone(context: Context, stores: Mapping[str, ClipStore], training: Training) -> None:
    """Train one model."""
    tokens = TokenStore(token_directory(context)) if context.recipe.train_teacher else None
    train(context, training, stores["train"], tokens)
