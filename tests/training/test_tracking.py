"""What Weights & Biases is told of a training, as its own package keeps it without a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

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


def told(root: Path) -> list[bytes]:
    """What each run has written, the oldest first; the package's records have names and numbers as they are."""
    return [path.read_bytes() for path in sorted(root.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)]


def test_every_training_is_told_and_none_is_changed(tmp_path: Path) -> None:
    tracked = train(tmp_path / "kitchen9", make_tracker(tmp_path / "kitchen9"))
    assert same(tracked.recognizer.state_dict(), train(tmp_path / "alone", None).recognizer.state_dict())
    (words,) = told(tmp_path / "kitchen9")
    assert all(word in words for word in (b"seed3/karmma", b"kitchens", b"kitchen9", b"tiny", b"data_wait_share"))
    rows = read_history(tmp_path / "kitchen9/seed3/karmma/training/history.csv")
    assert rows and all(repr(row["supervised_loss"]).encode() in words for row in rows)
    assert not told(tmp_path / "alone")


def test_a_resumed_training_goes_on_in_its_own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def stop(self: Any, trainer: Any, module: Any) -> None:
            raise RuntimeError("killed")

        patch.setattr(fit_module.ResumeState, "on_train_epoch_end", stop)
        with pytest.raises(RuntimeError, match="killed"):
            train(tmp_path, make_tracker(tmp_path))
    train(tmp_path, make_tracker(tmp_path))
    ids = [path.name.rpartition("-")[2] for path in tmp_path.glob("wandb/offline-run-*")]
    assert len(ids) >= 1 and len(set(ids)) == 1


def test_what_came_out_is_told_with_pictures(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    save_png(Figure(), tmp_path / "plots" / "sweep.png")
    make_tracker(tmp_path).tell_results({"karmma/rgb+audio": 61.25, "karmma/mean_over_subsets": 55.5}, [tmp_path / "plots/sweep.png"])
    (words,) = told(tmp_path)
    assert all(word in words for word in (b"results", b"karmma/rgb+audio", b"61.25", b"55.5", b"plots/sweep"))
    assert [path.suffix for path in tmp_path.glob("wandb/offline-run-*/files/media/images/plots/*")] == [".png"]


def test_what_is_missing_is_said_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    online = Tracker(WandbConfig(), tmp_path, {})
    for name, value in (("HOME", tmp_path), ("NETRC", tmp_path / "netrc"), ("WANDB_CONFIG_DIR", tmp_path)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(KarmmaError, match="wandb.mode=offline"):
        online.check()
    make_tracker(tmp_path).check()
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ModuleNotFoundError, match="wandb"):
        make_tracker(tmp_path).check()
    assert "wandb" in EXTRAS["wandb"]  # by which the command line says what to install
