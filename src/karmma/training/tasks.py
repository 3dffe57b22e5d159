"""What one training step means, one small class per way of training. The trainer around them is fit.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from .. import processes
from ..config import DistillationConfig, TrainingConfig
from ..data.loading import EpochLoader, TrainingBatch
from ..data.missing import stack_presence
from ..models.encoders import Encoder
from ..models.recognizer import Logits, RecognizerModel
from ..models.unimodal import UnimodalClassifier
from . import losses
from .ahead import PreparedEpoch, WorkingAhead, leaving_threads, threads_to_spare
from .beside import ExtractorsBeside
from .mixing import mix
from .teachers import Teacher, token_logits

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Targets:
    """Soft targets for a batch's fused answers, one for each draw of δ, and for each modality's own votes where it is present;
    empty without teacher."""

    fused: tuple[Logits, ...] = ()
    own: dict[str, Logits] = field(default_factory=dict)


@dataclass(frozen=True)
class TaughtBatch(TrainingBatch):
    """A batch that the teacher has already looked at."""

    targets: Targets = Targets()


def is_sharded(config: TrainingConfig) -> bool:
    """Whether the weights lie in shards over several processes."""
    return config.strategy == "fsdp" and processes.count() > 1


class Task(lightning.LightningModule):
    """A recognizer, its optimiser, and losses named `*_loss` that are summed."""

    def __init__(
        self,
        recognizer: RecognizerModel | UnimodalClassifier,
        config: TrainingConfig,
        make_loader: Callable[[int], EpochLoader],
        mixup: float = 0.0,
    ) -> None:
        super().__init__()
        self.recognizer: Any = recognizer  # a RecognizerModel, but for pre-training
        self.config, self.make_loader, self.mixup = config, make_loader, mixup
        self.steps_per_epoch = math.ceil(len(make_loader(0)) / config.accumulate)
        self.ahead: WorkingAhead | None = None  # while batches are prepared on other threads

    def losses(self, batch: TrainingBatch, present: dict[str, Tensor], available: dict[str, Tensor]) -> Losses:
        raise NotImplementedError

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        """Parameters that are not frozen, by name."""
        return [(name, value) for name, value in self.recognizer.named_parameters() if value.requires_grad]

    def configure_model(self) -> None:
        """Shard the weights: each recomputable block of an extractor by itself, the rest together."""
        if not is_sharded(self.config) or isinstance(self.recognizer, FSDPModule):
            return
        mesh = self.device_mesh["data_parallel"]  # type: ignore[index]
        for encoder in (module for module in self.recognizer.modules() if isinstance(module, Encoder)):
            for block in encoder.recomputable():
                fully_shard(block, mesh=mesh)
        fully_shard(self.recognizer, mesh=mesh)
        if isinstance(self.recognizer, RecognizerModel):
            for method in ("answers", "rebuilding_answers", "fuse"):
                register_fsdp_forward_method(self.recognizer, method)

    def train_dataloader(self) -> EpochLoader | PreparedEpoch:
        """Batches of this epoch, which follows from the steps done, so that a resumed run restores it exactly."""
        epoch = self.global_step // self.steps_per_epoch
        return self.ahead.epoch(epoch) if self.ahead else self.make_loader(epoch)

    def working_ahead(self) -> AbstractContextManager[None]:
        """What `fit` trains in: some of this process's threads prepare the next batch, where a task has something to prepare."""
        return nullcontext()

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        torch.manual_seed(batch.seed + processes.rank())
        names = self.recognizer.modalities
        batch = self.with_some_modality(batch)
        if not len(batch.batch):
            return sum((0.0 * value.sum() for _, value in self.trainable()), torch.zeros((), device=self.device))
        if self.mixup:
            classes = {head: linear.out_features for head, linear in self.recognizer.heads.heads.items()}
            patterns = [stack_presence(flags, names) for flags in (batch.present, batch.batch.present, *batch.draws)]
            batch = mix(batch, torch.cat(patterns, 1), classes, self.mixup)
        parts = self.losses(batch, *self.flags(batch))
        total = torch.stack(list(parts.values())).sum()
        self.log_dict(
            {**parts, "loss": total}, on_step=False, on_epoch=True, batch_size=len(batch.batch),
            sync_dist=processes.count() > 1,
        )  # fmt: skip
        return total

    def flags(self, batch: TrainingBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What is present and what is available of this recognizer's modalities, each `(batch,)`."""
        present, available = batch.present, batch.batch.present
        names = self.recognizer.modalities
        return {name: present[name] for name in names}, {name: available[name] for name in names}

    def draws(self, batch: TrainingBatch) -> list[dict[str, Tensor]]:
        """What each draw of δ left of this recognizer's modalities."""
        return [{name: draw[name] for name in self.recognizer.modalities} for draw in batch.draws or (batch.present,)]

    def with_some_modality(self, batch: TrainingBatch) -> TrainingBatch:
        """Without the samples of which this recognizer would see nothing."""
        seen = stack_presence(batch.present, self.recognizer.modalities).any(1)
        return batch if seen.all() else batch.select(seen.nonzero().flatten())

    def transfer_batch_to_device(self, batch: TrainingBatch, device: torch.device, dataloader_idx: int) -> TrainingBatch:
        tokens = {name: values.to(device) for name, values in batch.tokens.items()}
        present = {name: flags.to(device) for name, flags in batch.present.items()}
        draws = tuple({name: flags.to(device) for name, flags in draw.items()} for draw in batch.draws)
        return replace(batch, batch=batch.batch.to(device), tokens=tokens, present=present, draws=draws)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """By norm. Lightning refuses it for a fused optimizer in bf16, for the sake of a gradient scaler that bf16 has not."""
        if gradient_clip_val:
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], gradient_clip_val)

    def configure_optimizers(self) -> Any:
        """AdamW without decay on vectors; linear warm-up, then cosine or linear decay to zero."""
        decayed = [parameter for _, parameter in self.trainable() if parameter.ndim > 1]
        plain = [parameter for _, parameter in self.trainable() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.config.lr, fused=True)
        warmup = max(self.config.warmup_epochs * self.steps_per_epoch, 1)
        total = max(self.config.epochs * self.steps_per_epoch, 1)

        def factor(step: int) -> float:
            share = min(max((step - warmup) / max(total - warmup, 1), 0.0), 1.0)
            decay = 0.5 * (1 + math.cos(math.pi * share)) if self.config.schedule == "cosine" else 1 - share
            return min((step + 1) / warmup, 1.0) * decay

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class StudentTask(Task):
    """A student of some or all subsets. `own_weight`: of the loss of what each present modality votes by itself; `rebuild_weight`: of
    the error of what is rebuilt of dropped modalities, whose clips have to be there then; `share_weight`: of how little modalities
    share, and of how little of their own they keep.

    Those losses are summed over a sample's modalities and averaged over samples, so that processes may share a batch. Where δ
    is drawn several times, extractors run once on what any draw left, and the loss of fused answers is the mean over draws.
    """

    def __init__(self, *arguments: Any, own_weight: float = 0.0, rebuild_weight: float = 0.0, share_weight: float = 0.0) -> None:
        super().__init__(*arguments)
        self.own_weight, self.rebuild_weight, self.share_weight = own_weight, rebuild_weight, share_weight

    def losses(self, batch: TrainingBatch, present: dict[str, Tensor], available: dict[str, Tensor]) -> Losses:
        draws, votes, parts = self.draws(batch), dict[str, Logits](), Losses()
        if self.rebuild_weight or self.share_weight:
            seen, name = (available, "rebuilding_loss") if self.rebuild_weight else (present, "sharing_loss")
            answers, votes, errors = self.recognizer.rebuilding_answers(batch.batch.data, seen, draws)
            parts[name] = (self.rebuild_weight or self.share_weight) * errors.mean()
        elif self.own_weight or len(draws) > 1:
            answers, votes = self.recognizer.answers(batch.batch.data, present, draws)
        else:
            answers = [self.recognizer(batch.batch.data, present)]
        targets = batch.targets if isinstance(batch, TaughtBatch) else self.targets(batch, present, available)
        labels = batch.batch.labels
        for logits, draw, target in zip(answers, draws, targets.fused or [{}] * len(draws), strict=True):
            for key, value in self.loss_of(logits, labels, target, torch.stack(list(draw.values())).sum(0)).items():
                parts[key] = parts.get(key, torch.zeros_like(value)) + value / len(draws)
        for name, vote in votes.items() if self.own_weight else ():
            rows = present[name].nonzero().flatten()
            own_labels = {head: values[rows] for head, values in labels.items()}
            own = self.loss_of(vote, own_labels, targets.own.get(name, {}), torch.ones_like(rows))
            for key, value in own.items():
                weighted = self.own_weight * len(rows) / len(batch.batch) * value
                parts[f"own_{key}"] = parts.get(f"own_{key}", torch.zeros_like(value)) + weighted
        return parts

    def loss_of(self, logits: Logits, labels: Mapping[str, Tensor], target: Logits, sensors: Tensor) -> Losses:
        """Of one answer, whose soft targets are empty where nobody teaches; from how many `sensors` `(samples,)` it comes."""
        raise NotImplementedError

    def targets(self, batch: TrainingBatch, present: Mapping[str, Tensor], available: Mapping[str, Tensor]) -> Targets:
        """Soft targets of who teaches."""
        return Targets()


class SupervisedTask(StudentTask):
    """Cross-entropy under modality dropout: Baseline, Baseline w/ δ, and unimodal pre-training."""

    def loss_of(self, logits: Logits, labels: Mapping[str, Tensor], target: Logits, sensors: Tensor) -> Losses:
        return {"supervised_loss": losses.cross_entropy(logits, labels, self.config.label_smoothing).mean()}


class TeacherTask(Task):
    """Fusion and heads on frozen extractors, whose tokens come from the cache."""

    def __init__(self, *arguments: Any, contrastive_weight: float = 0.0) -> None:
        super().__init__(*arguments)
        self.contrastive_weight = contrastive_weight
        self.recognizer.encoders.requires_grad_(False)

    def losses(self, batch: TrainingBatch, present: dict[str, Tensor], available: dict[str, Tensor]) -> Losses:
        logits = token_logits(self.recognizer, batch.tokens, present)
        parts = {"supervised_loss": losses.cross_entropy(logits, batch.batch.labels, self.config.label_smoothing).mean()}
        if self.contrastive_weight:
            pooled = {
                name: self.recognizer.embeddings[name].project(values).mean(1) for name, values in batch.tokens.items()
            }
            parts["contrastive_loss"] = self.contrastive_weight * losses.info_nce(pooled, present)
        return parts


class DistillationTask(StudentTask):
    """KARMMA's student: cross-entropy and KL to a frozen teacher."""

    def __init__(self, *arguments: Any, teacher: Teacher, distillation: DistillationConfig, **weights: float) -> None:
        super().__init__(*arguments, **weights)
        self.distillation = distillation
        self.teacher = teacher  # no module: neither trained, nor saved, nor put into train mode
        self.beside: ExtractorsBeside | None = None  # while extractors share the backward pass among threads

    @contextmanager
    def working_ahead(self) -> Iterator[None]:
        """The teacher answers for the next batch where there are threads to spare; extractors share what it leaves of them."""
        threads = self.spare_threads()
        if not threads:
            yield
            return
        with (
            leaving_threads(threads),
            WorkingAhead(self.make_loader, self.taught, threads, self.config.epochs) as self.ahead,
            self.sharing_backward() as self.beside,
        ):
            yield
        self.ahead = self.beside = None

    def sharing_backward(self) -> AbstractContextManager[ExtractorsBeside | None]:
        """Nobody where extractors are compiled, hooks and all, or draw random numbers again while they recompute activations;
        nor where an operation has several threads, which would be more of them than cores."""
        if self.config.compile or self.config.checkpoint_activations or torch.get_num_threads() > 1:
            return nullcontext()
        return ExtractorsBeside(list(self.recognizer.encoders.values()))

    def backward(self, loss: Tensor, *arguments: Any, **options: Any) -> None:
        """Lightning's step back from the loss."""
        if self.beside is None:
            super().backward(loss, *arguments, **options)
        else:
            self.beside.backward(loss)

    def spare_threads(self) -> int:
        """None for mixup: what is blended with what is not known before the step."""
        return 0 if self.mixup else threads_to_spare(self.make_loader(0))

    def taught(self, batch: TrainingBatch) -> TrainingBatch:
        """The batch with what the teacher says about it."""
        batch = self.with_some_modality(batch)
        if not len(batch.batch):
            return batch
        with torch.no_grad(), self.trainer.precision_plugin.train_step_context():
            targets = self.targets(batch, *self.flags(batch))
        return TaughtBatch(batch.batch, batch.tokens, batch.seed, batch.present, batch.draws, batch.looks, targets)

    @torch.no_grad()
    def targets(self, batch: TrainingBatch, present: Mapping[str, Tensor], available: Mapping[str, Tensor]) -> Targets:
        same, draws = self.distillation.teacher_sees == "same", self.draws(batch)
        seen = present if same else available
        ask = self.teacher.to(self.device).answers(batch, seen)
        rows, own = torch.arange(len(batch.batch), device=self.device), {}
        fused = tuple(ask(rows, draw) for draw in draws) if same else (ask(rows, seen),) * len(draws)
        for name, flags in present.items():
            rows = flags.nonzero().flatten()
            if self.own_weight and len(rows):
                own[name] = ask(rows, {other: torch.full_like(rows, other == name, dtype=torch.bool) for other in present})
        return Targets(fused, own)

    def loss_of(self, logits: Logits, labels: Mapping[str, Tensor], target: Logits, sensors: Tensor) -> Losses:
        alpha = self.alpha(target, labels, sensors)
        supervised = losses.cross_entropy(logits, labels, self.config.label_smoothing)
        distilled = losses.distillation(logits, target, self.distillation.temperature)
        return {"supervised_loss": ((1 - alpha) * supervised).mean(), "distillation_loss": (alpha * distilled).mean()}

    def alpha(self, target: Logits, labels: Mapping[str, Tensor], sensors: Tensor) -> Tensor:
        """How much the teacher is believed about each answer, which comes from so many sensors; shape of `sensors`."""
        alpha = torch.full_like(sensors, self.distillation.alpha, dtype=torch.float32)
        if self.distillation.alpha_scale == "trust":
            return alpha * losses.label_probability(target, labels)
        others = len(self.recognizer.modalities) - 1
        if self.distillation.alpha_scale == "constant" or not others:
            return alpha
        return alpha * (1 + others - sensors) / others
