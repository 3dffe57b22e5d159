"""Stage 5: every arm under every subset (P1) and random dropout (P2), and what each sensor tells alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from .. import processes
from ..data.clips import ClipStore
from ..data.tokens import TokenStore
from ..evaluation.card import write_card
from ..evaluation.evaluate import (
    FIXED_LOGITS,
    LOGITS,
    SubsetLogits,
    evaluate,
    late_fusion,
    several_views,
    specialist_logits,
    subset_logits,
)
from ..files import write_json
from ..models.checkpoint import load_checkpoint
from ..progress import Progress
from ..training.fit import training_device
from ..training.tasks import TeacherTask
from .arms import load_specialists
from .context import TEACHER, Context
from .pretraining import teacher_settings, with_extractors


def measure_unimodal(context: Context, stores: Mapping[str, ClipStore], tokens: TokenStore) -> None:
    """How much each sensor tells alone: a fusion block on each frozen extractor, trained a third as long as the teacher."""
    teacher, split = context.recipe.teacher, context.recipe.evaluation.split
    config = replace(teacher.training, epochs=max(teacher.training.epochs // 3, 1))

    def work(name: str, progress: Progress) -> None:
        model = with_extractors(context, TEACHER, context.new_model(teacher.recognizer, (name,), 0))
        loader = context.loader(stores["train"], config, 0, clips=False, tokens=tokens)
        directory = context.directory / "unimodal" / name
        task = TeacherTask(model, config, loader)
        context.train(task, directory, progress, stage="unimodal")
        if processes.is_first():
            logits = subset_logits(task.recognizer, stores[split], device=training_device())
            write_json(directory / "evaluation.json", dataclasses.asdict(evaluate(logits, (), 1)))

    settings = {**teacher_settings(context), "evaluation": split}
    for name in context.names:
        context.book.run(f"unimodal.{name}", settings, partial(work, name), together=True)


def evaluation_stage(seed: int, name: str) -> str:
    return f"seed{seed}.{name}.evaluate"


def evaluation_settings(context: Context) -> dict[str, Any]:
    return {"evaluation": context.recipe.evaluation}


def evaluate_method(context: Context, stores: Mapping[str, ClipStore], seed: int, name: str) -> None:
    """P1 and P2 of one arm, and where it is one checkpoint a model card with them."""
    evaluation, directory = context.recipe.evaluation, context.seed_directory(seed, name)
    store = stores[evaluation.split]

    def work(progress: Progress) -> None:
        fixed, logits = logits_of(context, name, seed, store, progress)
        directory.mkdir(parents=True, exist_ok=True)
        logits.save(directory / LOGITS)
        measured = dataclasses.asdict(evaluate(logits, evaluation.sweep, evaluation.sweep_draws))
        if evaluation.views > 1:
            fixed.save(directory / FIXED_LOGITS)
            measured["single_view"] = evaluate(fixed, (), 1).subsets
        write_json(directory / "evaluation.json", measured)
        if (directory / "config.json").is_file():
            write_card(directory, name, measured, evaluation.split, evaluation.views)

    context.book.run(evaluation_stage(seed, name), evaluation_settings(context), work)


def logits_of(
    context: Context, name: str, seed: int, store: ClipStore, progress: Progress
) -> tuple[SubsetLogits, SubsetLogits]:
    """Logits of a method under every subset: of the fixed look at each sample, and of all the recipe's views together."""
    method = None if name == TEACHER else context.recipe.methods[name]
    count = context.recipe.evaluation.views
    if method is not None and method.late_fusion_of is not None:
        directory = context.seed_directory(seed, method.late_fusion_of)
        fixed, logits = (SubsetLogits.load(directory / file) for file in (FIXED_LOGITS if count > 1 else LOGITS, LOGITS))
        return late_fusion(fixed), late_fusion(logits)
    if method is not None and method.specialists:
        models = load_specialists(context, name, seed)
        see = partial(specialist_logits, models, context.names, store, device=training_device())
        fixed, logits = several_views(see, count, progress.update)
        return (late_fusion(fixed), late_fusion(logits)) if method.specialists == "single" else (fixed, logits)
    model, _ = load_checkpoint(context.seed_directory(seed, name))
    return several_views(partial(subset_logits, model, store, device=training_device()), count, progress.update)
