"""`karmma run`: simulate or find the data, read it, pre-train, teach, distil, evaluate, report; only what is not yet done."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning
import torch

from ..config import MethodConfig, Recipe, RecognizerConfig, StudentConfig, TeacherConfig, TrainingConfig, plain
from ..data.clips import ClipStore
from ..data.loading import EpochLoader
from ..data.manifest import Manifest
from ..data.missing import Complete, training_scenario
from ..data.tokens import TokenStore
from ..datasets import DATASETS
from ..evaluation.evaluate import evaluate, subset_logits
from ..evaluation.report import write_report
from ..modalities import Modality, make_modalities
from ..models.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from ..models.encoders import Encoder, make_encoder
from ..models.recognizer import RecognizerModel
from ..models.unimodal import UnimodalClassifier, load_extractor, save_extractor
from ..progress import Progress
from ..training.fit import fit, training_device
from ..training.tasks import DistillationTask, SupervisedTask, Task, TeacherTask
from ..training.teachers import CachedTeacher, LiveTeacher
from ..types import KarmmaError
from .provenance import provenance
from .results import collect_results
from .stages import StageBook, write_json

TEACHER, STUDENT = "teacher", "student"


@dataclass(frozen=True)
class Run:
    """A recipe and the directory that holds everything it makes."""

    recipe: Recipe
    directory: Path

    @cached_property
    def book(self) -> StageBook:
        return StageBook(self.directory)

    @cached_property
    def modalities(self) -> dict[str, Modality]:
        return make_modalities(self.recipe.modalities)

    @cached_property
    def root(self) -> Path:
        return Path(self.recipe.data.root) if self.recipe.data.root else self.directory / "data"

    @cached_property
    def manifest(self) -> Manifest:
        return DATASETS[self.recipe.data.dataset].load(self.root)

    def execute(self) -> dict[str, Any]:
        """Every stage that is not yet done; returns the content of results.json."""
        self.make_data()
        stores = {split: self.read_clips(split) for split in self.splits}
        for role in (TEACHER, STUDENT):
            if self.part(role).pretraining is not None:
                for name in self.modalities:
                    self.pretrain(role, name, stores[self.part(role).pretraining_split])
        tokens = self.cache_tokens(stores["train"])
        for seed in self.recipe.seeds:
            self.train_teacher(seed, stores["train"], tokens)
            for name, method in self.recipe.methods.items():
                self.train_student(name, method, seed, stores["train"], tokens)
        self.measure_unimodal(stores, tokens)
        self.evaluate_all(stores[self.recipe.evaluation.split])
        results = collect_results(self.directory, self.recipe, self.manifest, self.book.seconds())
        write_json(self.directory / "results.json", results)
        write_report(self.directory, results, stores[self.recipe.evaluation.split], self.manifest)
        return results

    @property
    def splits(self) -> list[str]:
        pretraining = [self.part(role).pretraining_split for role in (TEACHER, STUDENT) if self.part(role).pretraining]
        wanted = [*pretraining, "train", self.recipe.evaluation.split]
        return list(dict.fromkeys(wanted))

    # Data

    def data_settings(self) -> dict[str, Any]:
        data = plain(self.recipe.data)
        data.pop("workers")
        return {"data": data}

    def make_data(self) -> None:
        """Simulate where the recipe names no root; else the data set must be there."""
        kind = DATASETS.get(self.recipe.data.dataset)
        if kind is None:
            raise KarmmaError(f"data.dataset: unknown data set {self.recipe.data.dataset!r}; known: {', '.join(DATASETS)}")
        settings = kind.settings(self.recipe.data.settings, "data.settings")
        if self.recipe.data.root or kind.create is None:
            if not self.root.is_dir():
                raise KarmmaError(f"data.root: no such directory: {self.root}")
        else:
            create = kind.create
            self.book.run(
                "simulate",
                self.data_settings(),
                lambda bar: create(self.root, settings, self.recipe.data.workers, bar.update),
            )
        for split in self.splits:
            self.manifest.split(split)

    def read_clips(self, split: str) -> ClipStore:
        """Decode a split once into arrays."""
        store = ClipStore(self.directory / "clips" / split, self.manifest.split(split), self.modalities)
        settings = {**self.data_settings(), "modalities": {name: plain(value) for name, value in self.modalities.items()}}
        self.book.run(f"read.{split}", settings, lambda bar: store.write(self.recipe.data.workers, bar.update))
        if not len(store.usable):
            raise KarmmaError(f"split {split!r}: no segment has any of the modalities {', '.join(self.modalities)}")
        return store

    # Models

    def new_model(self, config: RecognizerConfig, names: tuple[str, ...], seed: int) -> RecognizerModel:
        """A freshly initialised recognizer of some of the modalities; the seed decides its weights."""
        lightning.seed_everything(seed, verbose=False)
        config = replace(config, encoders={name: config.encoders[name] for name in names})
        return RecognizerModel(config, {name: self.modalities[name].spec for name in names}, self.manifest.labels.sizes)

    def save(self, directory: Path, model: RecognizerModel, **origin: Any) -> None:
        names = model.modalities
        info = CheckpointInfo(
            model.config,
            {name: self.modalities[name].spec for name in names},
            self.manifest.labels,
            {name: plain(self.modalities[name]) for name in names},
            {"recipe": self.recipe.name, "dataset": self.manifest.name, **origin, **provenance()},
        )
        save_checkpoint(directory, model.cpu(), info)

    def loader(self, store: ClipStore, config: TrainingConfig, seed: int, **options: Any) -> Any:
        def make(epoch: int) -> EpochLoader:
            return EpochLoader(store, config.batch_size, seed, epoch, augment=config.augment, **options)

        return make

    def train(self, task: Task, directory: Path, progress: Progress, **origin: Any) -> None:
        """Fit and save; the resume state is dropped once the checkpoint is there."""
        fit(task, directory / "training", progress)
        self.save(directory, task.recognizer, **origin)
        (directory / "training" / "state.ckpt").unlink(missing_ok=True)

    def part(self, role: str) -> TeacherConfig | StudentConfig:
        return self.recipe.teacher if role == TEACHER else self.recipe.student

    def pretraining_settings(self, role: str, name: str) -> dict[str, Any]:
        part = self.part(role)
        return {
            **self.data_settings(),
            "modality": {name: plain(self.modalities[name])},
            "encoder": plain(part.recognizer.encoders[name]),
            "pretraining": plain(part.pretraining) if part.pretraining else None,
            "split": part.pretraining_split,
        }

    def new_extractor(self, role: str, name: str) -> Encoder:
        return make_encoder(self.modalities[name].spec, self.part(role).recognizer.encoders[name])

    def extractor_path(self, role: str, name: str) -> Path:
        return self.directory / "extractors" / role / f"{name}.safetensors"

    def pretrain(self, role: str, name: str, store: ClipStore) -> None:
        """Stage 1: one modality's extractor of teacher or student, trained with pooled linear heads on the source split."""
        config = self.part(role).pretraining
        assert config is not None

        def work(progress: Progress) -> None:
            lightning.seed_everything(0, verbose=False)
            model = UnimodalClassifier(name, self.new_extractor(role, name), self.manifest.labels.sizes)
            task = SupervisedTask(model, config, Complete(), self.loader(store, config, 0))
            training = self.directory / "extractors" / role / name
            fit(task, training, progress)
            save_extractor(self.extractor_path(role, name), model.encoder)
            (training / "state.ckpt").unlink(missing_ok=True)

        self.book.run(f"pretrain.{role}.{name}", self.pretraining_settings(role, name), work)

    def teacher_settings(self) -> dict[str, Any]:
        return {"teacher": plain(self.recipe.teacher), **self.data_settings(), "modalities": self.recipe.modalities}

    def cache_tokens(self, store: ClipStore) -> TokenStore:
        """Stage 2: tokens of the frozen extractors for several augmented views of every training clip."""
        directory, views = self.directory / "tokens" / "train", self.recipe.teacher.token_views
        device = training_device()

        def encoder_of(name: str) -> Any:
            encoder = load_extractor(self.extractor_path(TEACHER, name), self.new_extractor(TEACHER, name)).to(device).eval()

            @torch.no_grad()
            def encode(clips: torch.Tensor) -> torch.Tensor:
                return encoder(clips.to(device))

            return encode

        def work(progress: Progress) -> None:
            TokenStore.write(
                directory, store, {name: encoder_of(name) for name in self.modalities}, views, on_done=progress.update
            )

        self.book.run("tokens.train", self.teacher_settings(), work)
        return TokenStore(directory)

    def seed_directory(self, seed: int, method: str) -> Path:
        return self.directory / f"seed{seed}" / method

    def with_extractors(self, role: str, model: RecognizerModel) -> RecognizerModel:
        """Put pre-trained extractors into a recognizer."""
        for name in model.modalities:
            load_extractor(self.extractor_path(role, name), model.encoder(name))
        return model

    def train_teacher(self, seed: int, store: ClipStore, tokens: TokenStore) -> None:
        """Stage 3: the teacher's fusion block on cached tokens."""

        def work(progress: Progress) -> None:
            teacher = self.recipe.teacher
            model = self.with_extractors(TEACHER, self.new_model(teacher.recognizer, tuple(self.modalities), seed))
            loader = self.loader(store, teacher.training, seed, clips=False, tokens=tokens)
            scenario = training_scenario(teacher.subsets, teacher.dropout)
            task = TeacherTask(model, teacher.training, scenario, loader, contrastive_weight=teacher.contrastive_weight)
            self.train(task, self.seed_directory(seed, TEACHER), progress, stage="teacher", seed=seed)

        self.book.run(f"seed{seed}.teacher", self.teacher_settings(), work)

    def train_student(self, name: str, method: MethodConfig, seed: int, store: ClipStore, tokens: TokenStore) -> None:
        """Stage 4: one arm. All arms share architecture, data order, augmentation and epochs."""

        def work(progress: Progress) -> None:
            student = self.recipe.student
            config = replace(student.recognizer, absent=method.absent, average=method.average)
            model = self.new_model(config, tuple(self.modalities), seed)
            if student.pretraining is not None:
                self.with_extractors(STUDENT, model)
            scenario = training_scenario(method.subsets, method.dropout)
            task: Task
            if method.distillation is None:
                task = SupervisedTask(model, student.training, scenario, self.loader(store, student.training, seed))
            else:
                model_of_teacher, _ = load_checkpoint(self.seed_directory(seed, TEACHER))
                live = method.distillation.teacher_input == "live"
                teacher = LiveTeacher(model_of_teacher) if live else CachedTeacher(model_of_teacher)
                loader = self.loader(store, student.training, seed, tokens=None if live else tokens)
                task = DistillationTask(
                    model, student.training, scenario, loader, teacher=teacher, distillation=method.distillation
                )
            self.train(task, self.seed_directory(seed, name), progress, stage=name, seed=seed)

        settings = {
            "student": plain(self.recipe.student),
            "method": plain(method),
            **self.data_settings(),
            "modalities": self.recipe.modalities,
        }
        if method.distillation is not None:
            settings |= {"teacher": plain(self.recipe.teacher)}
        self.book.run(f"seed{seed}.{name}", settings, work)

    # Evaluation

    def measure_unimodal(self, stores: Mapping[str, ClipStore], tokens: TokenStore) -> None:
        """How much each sensor tells alone: a fusion block on each frozen extractor, trained half as long as the teacher."""

        def work(name: str, progress: Progress) -> None:
            teacher, split = self.recipe.teacher, self.recipe.evaluation.split
            config = replace(teacher.training, epochs=max(teacher.training.epochs // 2, 1))
            model = self.with_extractors(TEACHER, self.new_model(teacher.recognizer, (name,), 0))
            loader = self.loader(stores["train"], config, 0, clips=False, tokens=tokens)
            self.train(
                TeacherTask(model, config, Complete(), loader),
                self.directory / "unimodal" / name,
                progress,
                stage="unimodal",
            )
            logits = subset_logits(model, stores[split], device=training_device())
            write_json(self.directory / "unimodal" / name / "evaluation.json", dataclasses.asdict(evaluate(logits, (), 1)))

        settings = {**self.teacher_settings(), "evaluation": self.recipe.evaluation.split}
        for name in self.modalities:
            self.book.run(f"unimodal.{name}", settings, lambda progress, name=name: work(name, progress))  # type: ignore[misc]

    def evaluate_all(self, store: ClipStore) -> None:
        """P1 and P2 of every checkpoint of every seed."""
        evaluation = self.recipe.evaluation
        for seed in self.recipe.seeds:
            for name in (TEACHER, *self.recipe.methods):
                directory = self.seed_directory(seed, name)

                def work(progress: Progress, directory: Path = directory) -> None:
                    model, _ = load_checkpoint(directory)
                    logits = subset_logits(model, store, device=training_device(), on_done=progress.update)
                    logits.save(directory / "logits.safetensors")
                    write_json(
                        directory / "evaluation.json",
                        dataclasses.asdict(evaluate(logits, evaluation.sweep, evaluation.sweep_draws)),
                    )

                self.book.run(f"seed{seed}.{name}.evaluate", {"evaluation": plain(evaluation)}, work)


def run(recipe: Recipe, directory: Path) -> dict[str, Any]:
    """Run a recipe in a directory; a finished run only reads its results again."""
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "recipe.json", plain(recipe))
    return Run(recipe, directory).execute()
