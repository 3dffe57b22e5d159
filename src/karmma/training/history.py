"""What of a training stays to be looked at: a table of its epochs, whole after a killed run too, and how a watched split fares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from .. import processes
from ..files import rows_of, write_csv
from ..models.recognizer import RecognizerModel

COUNTS = ("epoch", "step")
Row = dict[str, float | None]  # by column; None where nothing was measured


def read_history(path: Path) -> list[Row]:
    """Epochs of a training, first one first; none where there is no table yet. Raises KarmmaError for a broken one."""
    if not path.exists():
        return []
    return [{key: float(cell) if cell else None for key, cell in row.items()} for _, row in rows_of(path, COUNTS)]


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """A CSV with a column for everything that any epoch has, atomically."""
    measured = list(dict.fromkeys(key for row in rows for key in sorted(row) if key not in COUNTS))
    cells = ([*(int(row[key] or 0) for key in COUNTS), *(row.get(key) for key in measured)] for row in rows)
    write_csv(path, [*COUNTS, *measured], cells)


class EpochHistory(Callback):
    """Keeps `history.csv`: what each epoch logged. A resumed training goes on with the rows of the epochs it need not repeat.

    Stands behind whatever logs, and before the trainer's state is written: then no epoch of a resumed training is missing.
    """

    def __init__(self, path: Path, watched: WatchedSplit | None) -> None:
        self.path, self.watched = path, watched

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        logged = {key: float(value) for key, value in trainer.callback_metrics.items()}  # all processes: they are averaged now
        if not processes.is_first():
            return
        before = [row for row in read_history(self.path) if (row["epoch"] or 0) < trainer.current_epoch]
        if self.watched:  # whose figures Lightning would repeat until the next ones
            logged = {key: value for key, value in logged.items() if key not in self.watched.names} | self.watched.figures
        write_history(self.path, [*before, {"epoch": trainer.current_epoch, "step": trainer.global_step, **logged}])


@dataclass(frozen=True)
class Watch:
    """Measures a recognizer after every so many epochs and after the last one; `measure` gives figures by name."""

    measure: Callable[[RecognizerModel], Mapping[str, float]]
    every_epochs: int

    def is_due(self, epoch: int, epochs: int) -> bool:
        """Whether to measure after an epoch, counted from 0, of so many."""
        return (epoch + 1) % self.every_epochs == 0 or epoch + 1 == epochs


class WatchedSplit(Callback):
    """Logs how well a split is recognised by the weights that would be kept now; training is not changed by it."""

    def __init__(self, watch: Watch, averaged: Any) -> None:
        self.watch, self.averaged, self.note = watch, averaged, ""
        self.figures, self.names = dict[str, float](), set[str]()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.figures = {}
        if not self.watch.is_due(trainer.current_epoch, trainer.max_epochs or 0):
            return
        if processes.is_first():
            training = {module: module.training for module in pl_module.modules()}
            with self.averaged.in_place(pl_module):
                self.figures = dict(self.watch.measure(pl_module.recognizer))  # type: ignore[arg-type]
            self.names |= set(self.figures)
            pl_module.log_dict(self.figures, rank_zero_only=True)
            self.note = ", ".join(f"{name.replace('_', ' ')} {value:.1f} %" for name, value in self.figures.items())
            for module, flag in training.items():
                module.training = flag
        processes.wait()
