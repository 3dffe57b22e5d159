"""What Weights & Biases is told of a training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import wandb

from karmma.cli import EXTRAS
from karmma.config import WandbConfig
from karmma.evaluation.plots import save_png
from karmma.progress import Progress
from karmma.training import fit as fit_module
from karmma.training.fit import fit
from karmma.training.history import read_history
from karmma.training.tasks import SupervisedTask
from karmma.training.tracking import Tracker
from karmma.types import KarmmaError

from ..conftest import make_recognizer
from .test_history import same
from .test_tasks import CONFIG, make_loader


def make_tracker(root: Path) -> Tracker:
    return Tracker(WandbConfig(project="kitchens", mode="offline"), root, {"name": "tiny", "seeds": [3, 4]})


def train(root: Path, tracker: Tracker | None) -> SupervisedTask:
    task = SupervisedTask(make_recognizer(dropout=0.3), CONFIG, make_loader)
    with Progress("test") as progress:
        fit(task, root / "seed3" / "karmma" / "training", progress, tracker=tracker)
    return task


class Run:
    """What wandb.init gives, as far as it is used. The package's own keeps its files in a process that a busy machine starves."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.logged, self.summary, self.exit_code = settings, list[dict[str, Any]](), dict[str, Any](), -1

    def log(self, figures: dict[str, Any], **_: Any) -> None:
        self.logged.append(figures)

    def finish(self, exit_code: int = 0) -> None:
        self.exit_code = exit_code


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that are begun, in their order."""
    begun: list[Run] = []

    def begin(**settings: Any) -> Run:
        begun.append(Run(**settings))
        return begun[-1]

    monkeypatch.setattr(wandb, "init", begin)
    return begun


def test_every_training_is_told_and_none_is_changed(tmp_path: Path, runs: list[Run]) -> None:
    tracked = train(tmp_path / "kitchen9", make_tracker(tmp_path / "kitchen9"))
    assert same(tracked.recognizer.state_dict(), train(tmp_path / "alone", None).recognizer.state_dict())
    (run,) = runs
    known = {"name": "seed3/karmma", "project": "kitchens", "group": "kitchen9", "mode": "offline", "resume": "allow"}
    assert known.items() <= run.settings.items() and run.settings["config"]["seeds"] == [3, 4] and run.exit_code == 0
    losses = [row["supervised_loss"] for row in read_history(tmp_path / "kitchen9/seed3/karmma/training/history.csv")]
    told = [figures["supervised_loss"] for figures in run.logged if "supervised_loss" in figures]
    assert losses and set(losses) <= set(told)


def test_a_resumed_training_goes_on_in_its_own_run(tmp_path: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def stop(self: Any, trainer: Any, module: Any) -> None:
            raise RuntimeError("killed")

        patch.setattr(fit_module.ResumeState, "on_train_epoch_end", stop)
        with pytest.raises(RuntimeError, match="killed"):
            train(tmp_path, make_tracker(tmp_path))
    train(tmp_path, make_tracker(tmp_path))
    assert [run.exit_code for run in runs] == [1, 0]
    assert runs[0].settings["id"] == runs[1].settings["id"]


def test_what_came_out_is_told_with_pictures(tmp_path: Path, runs: list[Run]) -> None:
    from matplotlib.figure import Figure

    save_png(Figure(), tmp_path / "plots" / "sweep.png")
    make_tracker(tmp_path).tell_results({"karmma/rgb+audio": 61.25}, [tmp_path / "plots/sweep.png"])
    assert runs[0].settings["name"] == "results" and runs[0].summary == {"karmma/rgb+audio": 61.25}
    assert list(runs[0].logged[0]) == ["plots/sweep"]


def test_a_server_that_cannot_be_reached_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise wandb.errors.CommError("no route")

    monkeypatch.setattr(wandb, "init", fail)
    with pytest.raises(KarmmaError, match="no route; with wandb.mode=offline"):
        make_tracker(tmp_path).tell_results({}, [])


def test_what_is_missing_is_said_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    online = Tracker(WandbConfig(), tmp_path, {})
    monkeypatch.setattr(wandb, "login", lambda: False)
    with pytest.raises(KarmmaError, match="nobody is logged in; with wandb.mode=offline"):
        online.check()
    make_tracker(tmp_path).check()
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ModuleNotFoundError, match="wandb"):
        make_tracker(tmp_path).check()
    assert "wandb" in EXTRAS["wandb"]  # by which the command line says what to install
