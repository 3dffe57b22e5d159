"""Random kernels of a run: fitted once per seed and modality, shared by all arms that vote with them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

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


def prepare_kernels(context: Context, seed: int, store: ClipStore) -> None:
    """Fit the kernels of every modality, where an arm of the recipe votes with them."""
    config, training = context.recipe.student.recognizer.kernels, context.recipe.student.training
    if config is None or not any(votes_with_kernels(context, method) for method in context.recipe.methods.values()):
        return
    sizes = context.manifest.labels.sizes
    for name in context.names:

        def work(name: str, progress: Progress) -> None:
            kernels = RandomKernels(context.modalities[name].spec, config, sum(sizes.values()))
            drawn = stage_seed(seed, KERNELS)
            loader = context.loader(store, training, drawn, names=(name,), shared=False)  # this process works alone
            fit_kernels(kernels, config, sizes, loader, drawn, progress.update)
            save_weights(kernels, kernels_path(context, seed, name))

        settings = {
            **context.data_settings(),
            "modality": {name: context.modalities[name]},
            "kernels": config,
            "training": {key: getattr(training, key) for key in ("batch_size", "augment", "mirror")},
        }
        context.book.run(f"seed{seed}.kernels.{name}", settings, partial(work, name))
