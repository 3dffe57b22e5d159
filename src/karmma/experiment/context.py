"""What every stage of a run needs: the recipe, its directory, the data, fresh models, saving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

import lightning

from .. import processes
from ..config import DataConfig, Recipe, RecognizerConfig, StudentConfig, TeacherConfig, TrainingConfig
from ..data.clips import ClipStore
from ..data.loading import EpochLoader
from ..data.manifest import Manifest
from ..data.reading import doubt_sources
from ..data.splits import doubt_splits
from ..data.streaming import StreamStore
from ..datasets import DataSet, find_data_set
from ..evaluation.evaluate import headline_figures, subset_logits
from ..modalities import Modality, make_modalities
from ..models.checkpoint import CheckpointInfo, save_checkpoint
from ..models.encoders import start
from ..models.encoders.hugging_face import check_preprocessing
from ..models.encoders.published_swin import doubt_preprocessing
from ..models.recognizer import RecognizerModel
from ..models.trial import require_buildable
from ..progress import Progress
from ..training.fit import fit, training_device
from ..training.history import Watch
from ..training.tasks import Task
from ..training.tracking import Tracker
from ..trees import plain
from ..types import KarmmaError
from ..workers import count_workers
from .provenance import provenance
from .stages import StageBook

TEACHER, STUDENT = "teacher", "student"
NOT_READ = ("workers", "stream", "keep_modalities")  # settings of the data that change nothing about what is stored


@dataclass(frozen=True)
class Context:
    """A recipe and the directory that holds everything a run makes."""

    recipe: Recipe
    directory: Path

    @cached_property
    def book(self) -> StageBook:
        return StageBook(self.directory)

    @cached_property
    def modalities(self) -> dict[str, Modality]:
        return make_modalities(self.recipe.modalities)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.modalities)

    @cached_property
    def root(self) -> Path:
        return Path(self.recipe.data.root) if self.recipe.data.root else self.directory / "data"

    @cached_property
    def kind(self) -> DataSet:
        return find_data_set(self.recipe.data.dataset)

    @cached_property
    def settings(self) -> Any:
        """The data set's own settings, validated."""
        return self.kind.settings(self.recipe.data.settings, "data.settings")

    @cached_property
    def manifest(self) -> Manifest:
        return self.kind.load(self.root, self.settings)

    def part(self, role: str) -> TeacherConfig | StudentConfig:
        return self.recipe.teacher if role == TEACHER else self.recipe.student

    @property
    def roles(self) -> tuple[str, ...]:
        """Whose extractors are prepared."""
        return (TEACHER, STUDENT) if self.recipe.train_teacher else (STUDENT,)

    @property
    def arms(self) -> tuple[str, ...]:
        """Everything that is evaluated: the teacher, where it is trained, and the methods that are to be tested."""
        tested = tuple(name for name, method in self.recipe.methods.items() if method.tested)
        return ((TEACHER,) if self.recipe.train_teacher else ()) + (tested or tuple(self.recipe.methods))

    @property
    def splits(self) -> list[str]:
        """Every split that some stage reads."""
        pretraining = [self.part(role).pretraining_split for role in self.roles if self.part(role).pretraining]
        watched = [self.recipe.watch.split] if self.recipe.watch else []
        return list(dict.fromkeys([*pretraining, "train", self.recipe.evaluation.split, *watched]))

    def seed_directory(self, seed: int, method: str) -> Path:
        return self.directory / f"seed{seed}" / method

    # Data

    def data_settings(self, reading: bool = False) -> dict[str, Any]:
        """What stages depend on; with `reading` only what changes the stored clips."""
        ignored, unset = NOT_READ if reading else NOT_READ[:2], DataConfig()
        return {"data": replace(self.recipe.data, **{key: getattr(unset, key) for key in ignored})}

    def check_models(self) -> None:
        """Say what no data can make right: before they are simulated and read."""
        specs = {name: modality.spec for name, modality in self.modalities.items()}
        doubts = []
        for role in self.roles:
            config = self.part(role).recognizer
            require_buildable(config, specs, f"{role}.recognizer")
            for name, modality in self.modalities.items():
                check_preprocessing(config.encoders[name], plain(modality), f"modalities.{name}")
                doubts.append(doubt_preprocessing(config.encoders[name], plain(modality), f"modalities.{name}"))
        for words in filter(None, doubts):
            print(words)

    def make_data(self) -> None:
        """Simulate where the recipe names no root; else the data set must be there."""
        create, settings = self.kind.create, self.settings
        if self.recipe.data.root or create is None:
            if not self.recipe.data.root:
                raise KarmmaError(f"data.root: the data set {self.recipe.data.dataset} is not built in; name its directory")
            if not self.root.is_dir():
                raise KarmmaError(f"data.root: no such directory: {self.root}")
        else:
            workers = self.recipe.data.workers
            self.book.run(
                "simulate",
                self.data_settings(reading=True),
                lambda bar: create(self.root, settings, workers, bar.update),
            )
        for split in self.splits:
            self.manifest.labelled_split(split)
        for words in doubt_splits(self.manifest) if processes.is_first() else ():
            print(f"data: {words}")

    def clips_of(self, split: str) -> ClipStore:
        """A split's clips, as they are stored by now."""
        watched = self.recipe.watch is not None and split == self.recipe.watch.split
        stored = watched or split == self.recipe.evaluation.split
        kind = StreamStore if self.recipe.data.stream and not stored else ClipStore
        segments, kept = self.manifest.split(split), self.kept_modalities(split)
        return kind(self.directory / "clips" / split, segments, self.modalities, kept)

    def read_clips(self, split: str) -> ClipStore:
        """Decode a split once into arrays. Files that could not be read are counted and named in `failed-*.csv`."""
        store = self.clips_of(split)
        settings = {**self.data_settings(reading=True), "modalities": self.modalities}
        if not self.book.is_done(f"read.{split}", settings):
            for name, words in doubt_sources(store.segments, self.modalities).items():
                print(f"read.{split}: {name} is doubtful in {len(words)} of the first files: {words[0]}")
        self.book.run(f"read.{split}", settings, lambda bar: store.write(self.recipe.data.workers, bar.update))
        failures = store.failures()
        if failures:
            print(
                f"read.{split}: {len(failures)} unreadable, treated as absent; first: {failures[0][2]}; all: {store.directory}; "
                "files that you mend are read by a run with another --out"
            )
        for name in [name for name, count in store.counts.items() if not count and split == "train"]:
            print(f"read.train: no clip has {name}; nothing is learnt of it, and answers that use it will say so")
        if not len(store.usable):
            raise KarmmaError(f"split {split!r}: no segment has any of the modalities {', '.join(self.modalities)}")
        return store

    def kept_modalities(self, split: str) -> int | None:
        return self.recipe.data.keep_modalities if split == "train" else None

    # Models

    def new_model(self, config: RecognizerConfig, names: tuple[str, ...], seed: int) -> RecognizerModel:
        """A freshly initialised recognizer of some of the modalities; the seed decides its weights."""
        lightning.seed_everything(seed, verbose=False)
        config = replace(config, encoders={name: config.encoders[name] for name in names})
        model = RecognizerModel(config, {name: self.modalities[name].spec for name in names}, self.manifest.labels.sizes)
        for name in names:
            start(model.encoder(name), name, config.encoders[name])
        return model

    def loader(self, store: ClipStore, config: TrainingConfig, seed: int, **options: Any) -> Callable[[int], EpochLoader]:
        workers = count_workers(self.recipe.data.workers, len(store)) if store.streams else 0

        def make(epoch: int) -> EpochLoader:
            return EpochLoader(
                store, config.batch_size, seed, epoch, augment=config.augment, mirror=config.mirror,
                workers=workers, **options,
            )  # fmt: skip

        return make

    def watch(self) -> Watch | None:
        """How teacher and students are watched while they train; None where the recipe does not say."""
        config = self.recipe.watch
        if config is None:
            return None
        store = self.clips_of(config.split)

        def measure(model: RecognizerModel) -> dict[str, float]:
            figures = headline_figures(subset_logits(model, store, device=training_device()))
            return {f"{config.split}_{name}": value for name, value in figures.items()}

        return Watch(measure, config.every_epochs)

    @cached_property
    def tracker(self) -> Tracker | None:
        """Who else hears of every training; None where the recipe names nobody."""
        config = self.recipe.wandb
        return Tracker(config, self.directory, plain(self.recipe)) if config else None

    def train(self, task: Task, directory: Path, progress: Progress, **origin: Any) -> None:
        """Fit and save; the resume state is dropped once the checkpoint is there."""
        fit(task, directory / "training", progress, self.watch(), self.tracker)
        if processes.is_first():
            self.save(directory, task.recognizer, **origin)
            (directory / "training" / "state.ckpt").unlink(missing_ok=True)

    @property
    def clip_seconds(self) -> float | None:
        """How long training clips are: the median of those whose end the data set knows; None if it knows none."""
        lengths = [clip.stop_seconds - clip.start_seconds for clip in self.manifest.split("train") if isfinite(clip.stop_seconds)]
        return round(median(lengths), 2) if lengths else None

    @property
    def train_clips(self) -> dict[str, int]:
        """By modality, how many training clips have it."""
        return self.clips_of("train").counts

    def save(self, directory: Path, model: RecognizerModel, **origin: Any) -> None:
        names = model.modalities
        info = CheckpointInfo(
            model.config,
            {name: self.modalities[name].spec for name in names},
            self.manifest.labels,
            {name: plain(self.modalities[name]) for name in names},
            {
                "recipe": self.recipe.name, "dataset": self.manifest.name, "clip_seconds": self.clip_seconds,
                "train_clips": self.train_clips, **origin, **provenance(),
            },
        )
        save_checkpoint(directory, model.cpu(), info)
