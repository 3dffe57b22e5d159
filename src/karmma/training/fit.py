"""The trainer around a task: Lightning with exact resume, logs, one progress bar, and a GPU when there is one."""

from __future__ import annotations

import copy
import logging
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.utils.checkpoint import checkpoint

from .. import processes
from ..models.encoders import Encoder
from ..progress import Progress
from ..types import KarmmaError
from .history import EpochHistory, Watch, WatchedSplit
from .tasks import Task, is_sharded
from .tracking import Tracker, open_loggers


def training_device() -> torch.device:
    """This process's GPU, else the CPU."""
    return torch.device("cuda", processes.local_rank()) if torch.cuda.is_available() else torch.device("cpu")


def resolve_precision(precision: str) -> str:
    """`auto` is bf16 where the hardware multiplies in it (recent GPUs, AMX or AVX-512-BF16 CPUs), else fp32."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "bf16-mixed" if "avx512_bf16" in flags or "amx_bf16" in flags else "32-true"


class ResumeState(Callback):
    """Writes the trainer's whole state after every epoch, atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        trainer.save_checkpoint(temporary)  # all processes take part, the first one writes
        if processes.is_first():
            temporary.replace(self.path)
        processes.wait()


class AveragedWeights(Callback):
    """A moving average of weights and batch statistics over steps; at the end it takes their place.

    Early on the average forgets faster, so that it does not start from the first random weights.
    """

    def __init__(self, decay: float) -> None:
        self.decay, self.steps, self.values = decay, 0, dict[str, Tensor]()

    @torch.no_grad()
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
        if trainer.global_step == self.steps:
            return
        self.steps = trainer.global_step
        decay = min(self.decay, self.steps / (self.steps + 10))
        for name, value in pl_module.recognizer.state_dict().items():
            if name in self.values and value.is_floating_point():
                self.values[name] = self.values[name].to(value.device).lerp(value, 1 - decay)
            else:
                self.values[name] = value.clone()

    def put_into(self, task: Task) -> None:
        """Let the average take the weights' place; not a hook, because a run that is resumed at its end has no more hooks."""
        if self.values:
            task.recognizer.load_state_dict(self.values)

    @contextmanager
    def in_place(self, task: Task) -> Iterator[None]:
        """The average in the weights' place, for as long as the body takes; the weights themselves where there is none."""
        if not self.values:
            yield
            return
        weights = {name: value.clone() for name, value in task.recognizer.state_dict().items()}
        self.put_into(task)
        yield
        task.recognizer.load_state_dict(weights)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "values": self.values}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps, self.values = state_dict["steps"], dict(state_dict["values"])


class EpochProgress(Callback):
    """Tells the progress bar of every step, with the running loss; and measures the share of time spent waiting for data.

    Raises KarmmaError for a loss that is no number: nothing that is trained after it would be worth anything.
    """

    def __init__(self, progress: Progress, steps: int, watched: WatchedSplit | None) -> None:
        self.progress, self.steps, self.watched = progress, steps, watched
        self.waiting, self.started, self.idle_since = 0.0, time.perf_counter(), time.perf_counter()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
        self.waiting += time.perf_counter() - self.idle_since

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            raise KarmmaError(
                f"{self.progress.title}: the loss is {loss} in step {trainer.global_step} of {self.steps}; "
                "a lower lr, clip_norm or precision=32-true may help"
            )
        notes = [f"loss {loss:.3f}", *([self.watched.note] if self.watched and self.watched.note else [])]
        self.progress.update(trainer.global_step, self.steps, ", ".join(notes))
        self.idle_since = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        share = self.waiting / max(time.perf_counter() - self.started, 1e-9)
        pl_module.log("data_wait_share", share)


def fit(task: Task, directory: Path, progress: Progress, watch: Watch | None = None, tracker: Tracker | None = None) -> None:
    """Train to the end, continuing from `directory/state.ckpt` where there is one.

    Leaves `history.csv` and events for TensorBoard; the tracker's server hears the same.
    Epoch by epoch everything follows from the seed, so that a killed and resumed run ends in the same weights (CPU).
    """
    quieten()
    directory.mkdir(parents=True, exist_ok=True)
    state = directory / "state.ckpt"
    prepare_encoders(task)
    averaged = AveragedWeights(task.config.averaging)
    watched = WatchedSplit(watch, averaged) if watch else None
    trainer = lightning.Trainer(
        max_epochs=task.config.epochs,
        accelerator="auto",
        devices=processes.per_node() if processes.count() > 1 else 1,
        num_nodes=processes.count() // processes.per_node(),
        strategy=make_strategy(task.config.strategy),
        sync_batchnorm=processes.count() > 1 and torch.cuda.is_available(),
        use_distributed_sampler=False,
        accumulate_grad_batches=task.config.accumulate,
        precision=resolve_precision(task.config.precision),  # type: ignore[arg-type]
        gradient_clip_val=task.config.clip_norm or None,
        logger=False,  # set below, where they are closed again
        callbacks=[
            *([averaged] if task.config.averaging else []),
            EpochProgress(progress, task.config.epochs * task.steps_per_epoch, watched),
            *([watched] if watched else []),
            EpochHistory(directory / "history.csv", watched),
            ResumeState(state),
        ],
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=str(directory),
    )
    whole = copy.deepcopy(task.recognizer) if is_sharded(task.config) else None
    with task.working_ahead(), open_loggers(directory, tracker) as trainer.loggers:
        trainer.fit(task, ckpt_path=str(state) if state.exists() else None, weights_only=True)
    averaged.put_into(task)
    if whole is not None:
        whole.load_state_dict(get_model_state_dict(task.recognizer, options=StateDictOptions(full_state_dict=True)))
        task.recognizer = whole
    task.recognizer.eval()


def make_strategy(name: str) -> Strategy | str:
    """How several processes train one model; a process alone needs none.

    Samples decide which extractors run, so that DDP must look for parameters without a gradient in every step.
    """
    if processes.count() == 1:
        return "auto"
    if name == "fsdp":
        return ModelParallelStrategy(
            data_parallel_size=processes.count(), tensor_parallel_size=1, save_distributed_checkpoint=False
        )  # fmt: skip
    return DDPStrategy(find_unused_parameters=True)


def prepare_encoders(task: Task) -> None:
    """Compile the extractors, or recompute their blocks in the backward pass, where the configuration asks for it."""
    for encoder in (module for module in task.recognizer.modules() if isinstance(module, Encoder)):
        if task.config.checkpoint_activations:
            for block in encoder.recomputable():
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if task.config.compile:
            encoder.compile(dynamic=True)


def quieten() -> None:
    """Lightning's banners and advice about loaders that this project does not use."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec.*")
