"""Stages 1 and 2: unimodal pre-training of extractors, and the cache of the teacher's frozen tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from .. import processes
from ..config import TrainingConfig
from ..data.clips import ClipStore
from ..data.loading import PRETRAINING, stage_seed
from ..data.tokens import TokenStore
from ..models.encoders import Encoder, make_encoder, start
from ..models.recognizer import RecognizerModel
from ..models.unimodal import UnimodalClassifier, load_extractor, save_extractor
from ..progress import Progress
from ..training.fit import fit, training_device
from ..training.tasks import SupervisedTask
from ..types import KarmmaError
from ..workers import count_workers
from .context import TEACHER, Context


def extractor_path(context: Context, role: str, name: str) -> Path:
    return context.directory / "extractors" / role / f"{name}.safetensors"


def new_extractor(context: Context, role: str, name: str) -> Encoder:
    return make_encoder(context.modalities[name].spec, context.part(role).recognizer.encoders[name])


def with_extractors(context: Context, role: str, model: RecognizerModel) -> RecognizerModel:
    """Put pre-trained extractors into a recognizer."""
    for name in model.modalities:
        load_extractor(extractor_path(context, role, name), model.encoder(name))
    return model


def extractors_to_pretrain(context: Context) -> list[tuple[str, str]]:
    """Role and modality of every extractor of stage 1. A student without pre-training starts from its own first weights."""
    roles = [role for role in context.roles if context.part(role).pretraining is not None]
    return [(role, name) for role in roles for name in context.names]


def keep_published(context: Context) -> None:
    """The teacher's extractors as published, where it is not pre-trained: then the recipe must name weights for each."""
    if TEACHER not in context.roles or context.part(TEACHER).pretraining is not None:
        return
    for name in context.names:
        encoder_config = context.recipe.teacher.recognizer.encoders[name]
        if encoder_config.weights is None:
            raise KarmmaError(f"teacher.pretraining is null and teacher.recognizer.encoders.{name}.weights names no file")

        def work(name: str, progress: Progress) -> None:
            save_extractor(extractor_path(context, TEACHER, name), started_extractor(context, TEACHER, name))

        context.book.run(f"extractor.teacher.{name}", {"encoder": encoder_config}, partial(work, name))


def started_extractor(context: Context, role: str, name: str) -> Encoder:
    """A new extractor with the published weights that the recipe names, if it does."""
    encoder = new_extractor(context, role, name)
    start(encoder, name, context.part(role).recognizer.encoders[name])
    return encoder


def pretraining_task(
    context: Context, role: str, name: str, config: TrainingConfig, store: ClipStore, seed: int = 0
) -> SupervisedTask:
    """One modality's extractor with pooled linear heads, at its first weights, and the clips to train it with."""
    lightning.seed_everything(seed, verbose=False)
    model = UnimodalClassifier(name, started_extractor(context, role, name), context.manifest.labels.sizes)
    loader = context.loader(store, config, stage_seed(seed, PRETRAINING), names=(name,))
    return SupervisedTask(model, config, loader)


def pretraining_stage(role: str, name: str) -> str:
    return f"pretrain.{role}.{name}"


def pretraining_settings(context: Context, role: str, name: str) -> dict[str, Any]:
    """What a pre-trained extractor depends on."""
    part = context.part(role)
    return {
        **context.data_settings(),
        "modality": {name: context.modalities[name]},
        "encoder": part.recognizer.encoders[name],
        "pretraining": part.pretraining,
        "split": part.pretraining_split,
    }


def pretrain(context: Context, stores: Mapping[str, ClipStore], role: str, name: str) -> None:
    """One modality's extractor of teacher or student, trained with pooled linear heads on the source split."""
    part = context.part(role)
    config, store = part.pretraining, stores[part.pretraining_split]
    assert config is not None

    def work(progress: Progress) -> None:
        task = pretraining_task(context, role, name, config, store)
        training = context.directory / "extractors" / role / name
        fit(task, training, progress, tracker=context.tracker)
        if processes.is_first():
            save_extractor(extractor_path(context, role, name), task.recognizer.encoder)
            (training / "state.ckpt").unlink(missing_ok=True)

    context.book.run(pretraining_stage(role, name), pretraining_settings(context, role, name), work, together=True)


def teacher_settings(context: Context) -> dict[str, Any]:
    """What everything that a teacher makes depends on."""
    return {
        "teacher": context.recipe.teacher,
        **context.data_settings(),
        "modalities": context.recipe.modalities,
    }


def token_directory(context: Context) -> Path:
    return context.directory / "tokens" / "train"


def cache_tokens(context: Context, store: ClipStore) -> TokenStore:
    """Stage 2: tokens of the frozen extractors for several augmented views of every training clip."""
    directory, views = token_directory(context), context.recipe.teacher.token_views
    device, mirror = training_device(), context.recipe.teacher.training.mirror

    def encoder_of(name: str) -> Callable[[Tensor], Tensor]:
        encoder = load_extractor(extractor_path(context, TEACHER, name), new_extractor(context, TEACHER, name))
        encoder = encoder.to(device).eval()

        @torch.no_grad()
        def encode(clips: Tensor) -> Tensor:
            return encoder(clips.to(device))

        return encode

    def work(progress: Progress) -> None:
        encoders = {name: encoder_of(name) for name in context.names}
        workers = count_workers(context.recipe.data.workers, len(store))
        TokenStore.write(directory, store, encoders, views, mirror=mirror, on_done=progress.update, workers=workers)

    context.book.run("tokens.train", {**teacher_settings(context), "looks": "numbered by sample"}, work)
    return TokenStore(directory)
