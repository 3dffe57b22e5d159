"""Random kernels of a run: fitted once per seed and modality, shared by all arms that vote with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import MethodConfig
from ..data.clips import ClipStore
from ..data.loading import KERNELS, stage_seed
from ..models.random_kernels import RandomKernels
from ..models.recognizer import RecognizerModel
from ..models.weights import load_weights, save_weights
from ..progress import Progress
from ..training.kernels import fit_kernels
from .context import Context


def votes_with_kernels(context: Context, method: MethodConfig) -> bool:
    """Whether an arm's models vote with random kernels."""
    return context.recipe.student.recognizer.kernels is not None and method.kernels and method.absent != "zeros"


def kernels_path(context: Context, seed: int, name: str) -> Path:
    return context.seed_directory(seed, "kernels") / f"{name}.safetensors"


def with_kernels(context: Context, model: RecognizerModel, seed: int) -> RecognizerModel:
    """Put fitted kernels into a recognizer that has some."""
    for name, kernels in model.kernels.items():
        load_weights(kernels, kernels_path(context, seed, name))
    return model


def kernels_of_seeds(context: Context) -> list[tuple[int, str]]:
    """Seed and modality of all kernels that some arm of the recipe votes with."""
    if not any(votes_with_kernels(context, method) for method in context.recipe.methods.values()):
        return []
    return [(seed, name) for seed in context.recipe.seeds for name in context.names]


def kernels_stage(seed: int, name: str) -> str:
    return f"seed{seed}.kernels.{name}"


def kernels_settings(context: Context, name: str) -> dict[str, Any]:
    """What fitted kernels depend on."""
    training = context.recipe.student.training
    return {
        **context.data_settings(),
        "modality": {name: context.modalities[name]},
        "kernels": context.recipe.student.recognizer.kernels,
        "training": {key: getattr(training, key) for key in ("batch_size", "augment", "mirror")},
    }


def prepare_kernels(context: Context, stores: Mapping[str, ClipStore], seed: int, name: str) -> None:
    """Fit the kernels of a modality; those of one that no training clip has vote for nothing."""
    config, training = context.recipe.student.recognizer.kernels, context.recipe.student.training
    assert config is not None
    sizes = context.manifest.labels.sizes

    def work(progress: Progress) -> None:
        kernels = RandomKernels(context.modalities[name].spec, config, sum(sizes.values()))
        drawn = stage_seed(seed, KERNELS)
        loader = context.loader(stores["train"], training, drawn, names=(name,), shared=False)  # this process works alone
        if stores["train"].counts[name]:
            fit_kernels(name, kernels, config, sizes, loader, drawn, progress.update)
        save_weights(kernels, kernels_path(context, seed, name))

    context.book.run(kernels_stage(seed, name), kernels_settings(context, name), work)
