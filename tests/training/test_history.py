"""What of a training can be looked at: the table of its epochs, and the figures of a watched split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from karmma.models.recognizer import RecognizerModel
from karmma.progress import Progress
from karmma.training import fit as fit_module
from karmma.training.fit import fit
from karmma.training.history import Watch, read_history, write_history
from karmma.training.tasks import SupervisedTask

from ..conftest import make_recognizer
from .test_tasks import CONFIG, make_loader

EPOCHS = 5


class Probe:
    """A measurement that remembers what it was given, and leaves the model in another mode than it was in."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []

    def __call__(self, model: RecognizerModel) -> Mapping[str, float]:
        model.eval()
        torch.rand(3)
        self.weights.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"validation_action_top1": 10.0 * len(self.weights)}


def train(directory: Path, watch: Watch | None = None, averaging: float = 0.0) -> SupervisedTask:
    task = SupervisedTask(make_recognizer(dropout=0.3), replace(CONFIG, epochs=EPOCHS, averaging=averaging), make_loader)
    with Progress("test") as progress:
        fit(task, directory, progress, watch)
    return task


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_watching_changes_nothing_and_sees_the_weights_that_are_kept(tmp_path: Path, averaging: float) -> None:
    probe = Probe()
    alone = train(tmp_path / "alone", averaging=averaging)
    watched = train(tmp_path / "watched", Watch(probe, every_epochs=2), averaging)
    assert same(alone.recognizer.state_dict(), watched.recognizer.state_dict())
    assert len(probe.weights) == 3  # after the second, the fourth, and the last
    assert same(probe.weights[-1], watched.recognizer.state_dict())
    rows = read_history(tmp_path / "watched" / "history.csv")
    assert [row["validation_action_top1"] for row in rows] == [None, 10.0, None, 20.0, 30.0]
    assert [row["loss"] for row in rows] == [row["loss"] for row in read_history(tmp_path / "alone" / "history.csv")]


@pytest.mark.parametrize("stop_in", ["ResumeState", "EpochHistory"])
def test_a_resumed_training_keeps_its_whole_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_in: str) -> None:
    """Killed before the state of an epoch is written, and after it: each epoch is there once, with its own loss."""
    train(tmp_path / "whole")
    kind = getattr(fit_module, stop_in)
    original, calls = kind.on_train_epoch_end, {"count": 0}

    def stop_once(self: Any, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        calls["count"] += 1
        if calls["count"] == 3:
            raise RuntimeError("killed")

    monkeypatch.setattr(kind, "on_train_epoch_end", stop_once)
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "parts")
    train(tmp_path / "parts")
    parts, whole = (read_history(tmp_path / name / "history.csv") for name in ("parts", "whole"))
    assert [row["epoch"] for row in parts] == list(range(EPOCHS))
    assert [row["loss"] for row in parts] == [row["loss"] for row in whole]


def test_a_history_with_new_columns_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", [{"epoch": 0.0, "step": 3.0, "loss": 2.5}, {"epoch": 1.0, "step": 6.0, "top1": 40.0}])
    first, second = read_history(tmp_path / "history.csv")
    assert first == {"epoch": 0.0, "step": 3.0, "loss": 2.5, "top1": None}
    assert second == {"epoch": 1.0, "step": 6.0, "loss": None, "top1": 40.0}
    assert read_history(tmp_path / "none.csv") == []
