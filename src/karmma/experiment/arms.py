"""Stages 3 and 4: the teacher, and one function per way to train a student. Students share data order and epochs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import DistillationConfig, MethodConfig, TrainingConfig
from ..data.clips import ClipStore
from ..data.loading import SPECIALISTS, stage_seed
from ..data.missing import training_scenario
from ..data.tokens import TokenStore
from ..models.checkpoint import load_checkpoint
from ..models.recognizer import RecognizerModel
from ..progress import Progress
from ..training.tasks import DistillationTask, SupervisedTask, Task, TeacherTask
from ..training.teachers import CachedTeacher, EnsembleTeacher, LiveTeacher, SpecialistTeacher, Teacher
from ..types import KarmmaError, subset_name, subsets_of
from .context import STUDENT, TEACHER, Context
from .kernels import votes_with_kernels, with_kernels
from .pretraining import teacher_settings, with_extractors


def train_teacher(context: Context, seed: int, store: ClipStore, tokens: TokenStore) -> None:
    """The teacher's fusion block on cached tokens of its frozen extractors."""

    def work(progress: Progress) -> None:
        teacher = context.recipe.teacher
        model = with_extractors(context, TEACHER, context.new_model(teacher.recognizer, context.names, seed))
        scenario = training_scenario(teacher)
        loader = context.loader(store, teacher.training, seed, clips=False, tokens=tokens, scenario=scenario)
        task = TeacherTask(model, teacher.training, loader, contrastive_weight=teacher.contrastive_weight)
        context.train(task, context.seed_directory(seed, TEACHER), progress, stage="teacher", seed=seed)

    context.book.run(f"seed{seed}.teacher", teacher_settings(context), work, together=True)


@dataclass(frozen=True)
class Training:
    """One model that a method needs: its student, or its specialist for a subset."""

    method: str
    seed: int
    subset: tuple[str, ...] | None = None

    @property
    def stage(self) -> str:
        """Name of the stage that trains it."""
        parts = [f"seed{self.seed}", self.method] + ([] if self.subset is None else [subset_name(self.subset)])
        return ".".join(parts)


def trainings_of(context: Context, name: str, seed: int) -> list[Training]:
    """Whatever has to be trained for a method of the recipe."""
    method = context.recipe.methods[name]
    if method.specialists:
        return [Training(name, seed, subset) for subset in specialist_subsets(context, name)]
    return [Training(name, seed)] if method.late_fusion_of is None else []


def train(context: Context, training: Training, store: ClipStore, tokens: TokenStore | None) -> None:
    """Train a model, unless it is there."""
    if training.subset is None:
        train_student(context, training, store, tokens)
    else:
        train_specialist(context, training, training.subset, store)


def new_student(context: Context, method: MethodConfig, names: tuple[str, ...], seed: int) -> RecognizerModel:
    """The student of an arm, its extractors at their starting weights."""
    student = context.recipe.student
    kernels = student.recognizer.kernels if votes_with_kernels(context, method) else None
    own_votes = student.recognizer.own_votes and method.absent != "zeros"
    config = replace(student.recognizer, absent=method.absent, average=method.average, kernels=kernels, own_votes=own_votes)
    model = context.new_model(config, names, seed)
    if method.extractors_from is not None:
        for name in names:
            single, _ = load_checkpoint(specialist_directory(context, method.extractors_from, (name,), seed))
            model.encoder(name).load_state_dict(single.encoder(name).state_dict())
    elif student.pretraining is not None:
        with_extractors(context, STUDENT, model)
    return with_kernels(context, model, seed)


def training_of(context: Context, name: str) -> TrainingConfig:
    """The student's training, with what a method has in place of it."""
    method = context.recipe.methods[name]
    training = context.recipe.student.training
    return training if method.epochs is None else replace(training, epochs=method.epochs)


def train_student(context: Context, which: Training, store: ClipStore, tokens: TokenStore | None) -> None:
    """One checkpoint for all subsets: Baseline, Baseline w/ δ, KARMMA and its variants."""
    name, seed = which.method, which.seed
    method, training = context.recipe.methods[name], training_of(context, name)

    def work(progress: Progress) -> None:
        model = new_student(context, method, context.names, seed)
        scenario = training_scenario(method)
        options: dict[str, Any] = {"scenario": scenario, "draws": method.draws, "sees_all": method.rebuild_weight > 0}
        weights = {
            "own_weight": method.own_weight, "rebuild_weight": method.rebuild_weight, "share_weight": method.share_weight,
        }  # fmt: skip
        task: Task
        if method.distillation is None:
            loader = context.loader(store, training, seed, **options)
            task = SupervisedTask(model, training, loader, method.mixup, **weights)
        else:
            cached = tokens if method.distillation.teacher_input == "cached" else None
            options["sees_all"] |= method.distillation.teacher_sees == "all"
            loader = context.loader(store, training, seed, tokens=cached, **options)
            teacher = make_teacher(context, method.distillation, seed, cached)
            task = DistillationTask(
                model, training, loader, method.mixup, teacher=teacher, distillation=method.distillation, **weights
            )
        context.train(task, context.seed_directory(seed, name), progress, stage=name, seed=seed)

    context.book.run(which.stage, arm_settings(context, name), work, together=True)


def train_specialist(context: Context, which: Training, subset: tuple[str, ...], store: ClipStore) -> None:
    """A model of some modalities, trained on complete clips of just these."""
    name, seed = which.method, which.seed
    method, training = context.recipe.methods[name], training_of(context, name)

    def work(progress: Progress) -> None:
        model = new_student(context, method, subset, seed)
        loader = context.loader(store, training, stage_seed(seed, SPECIALISTS), names=subset)
        task = SupervisedTask(model, training, loader, method.mixup, own_weight=method.own_weight)
        directory = specialist_directory(context, name, subset, seed)
        context.train(task, directory, progress, stage=f"{name} {subset_name(subset)}", seed=seed)

    context.book.run(which.stage, arm_settings(context, name), work, together=True)


def specialist_directory(context: Context, name: str, subset: tuple[str, ...], seed: int) -> Path:
    return context.seed_directory(seed, name) / subset_name(subset)


def load_specialists(context: Context, name: str, seed: int) -> dict[tuple[str, ...], RecognizerModel]:
    """The models of a method with specialists, by subset."""
    return {
        subset: load_checkpoint(specialist_directory(context, name, subset, seed))[0]
        for subset in specialist_subsets(context, name)
    }


def specialist_subsets(context: Context, name: str) -> list[tuple[str, ...]]:
    """What a method with specialists has a model for."""
    if context.recipe.methods[name].specialists == "single":
        return [(modality,) for modality in context.names]
    return subsets_of(context.names)


def make_teacher(context: Context, distillation: DistillationConfig, seed: int, tokens: TokenStore | None) -> Teacher:
    """Who teaches a student, by the names in `distillation.teachers`; `tokens` of the looks that the teacher had beforehand."""
    teachers: list[Teacher] = []
    for name in distillation.teachers:
        if name != TEACHER and context.recipe.methods[name].specialists:
            models = load_specialists(context, name, seed)
            temperature = distillation.specialist_temperature if distillation.specialist_weights == "loss" else None
            smaller = distillation.smaller_specialists
            teachers.append(SpecialistTeacher(models, context.names, smaller=smaller, temperature=temperature))
            continue
        model, _ = load_checkpoint(context.seed_directory(seed, name))
        teachers.append(CachedTeacher(model, tokens) if name == TEACHER and tokens is not None else LiveTeacher(model))
    if not teachers:
        raise KarmmaError("distillation.teachers is empty")
    return teachers[0] if len(teachers) == 1 else EnsembleTeacher(teachers)


def training_part(method: MethodConfig) -> MethodConfig:
    """What of a method changes its models: all but whether they are tested."""
    return replace(method, tested=True)


def arm_settings(context: Context, name: str) -> dict[str, Any]:
    """What an arm depends on, with everything it builds on."""
    recipe = context.recipe
    method = recipe.methods[name]
    settings = {
        "student": recipe.student,
        "method": training_part(method),
        **context.data_settings(),
        "modalities": recipe.modalities,
    }
    if method.distillation is not None and TEACHER in method.distillation.teachers:
        settings["teacher"] = recipe.teacher
    builds_on = [other for other in recipe.only([name]).methods if other != name]
    return settings | ({"builds_on": {other: training_part(recipe.methods[other]) for other in builds_on}} if builds_on else {})
