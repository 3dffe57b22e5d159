"""A user's own sensors without a film: joints of another tracker, an IMU in g, and a modality of the recipe that nobody has."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import karmma
from karmma.config import Recipe
from karmma.deploy.recognition import UNMET
from karmma.experiment.run import run
from karmma.media.tables import AXES
from karmma.models.checkpoint import read_info
from karmma.trees import build

TRAINING = {"epochs": 1, "batch_size": 8, "lr": 0.001}
RECOGNIZER: dict[str, Any] = {
    "encoders": {"imu": {"kind": "motion", "width": 8}, "skeleton": {"kind": "skeleton", "width": 8},
                 "depth": {"kind": "views", "width": 8, "stack": 2}},
    "dim": 16, "layers": 1, "heads": 2, "ffn_dim": 16, "head_dim": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, twelve actions each, cut out of one table and one file of MediaPipe's joints per person."""
    root, random = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    body, rows = random.normal(0, 0.3, (33, 3)), list[list[object]]()
    for person, split in ((0, "train"), (1, "test")):
        slow, fast = np.arange(720) / 20, np.arange(1800) / 50
        poses = np.repeat(body[None], len(slow), 0) + random.normal(0, 0.01, (len(slow), 33, 3))
        imu = random.normal((0, 0, 1.0, 0, 0, 0), 0.01, (len(fast), 6))
        for index in range(12):
            start, label = 3.0 * index, index % 2
            inside, shaken = (clock[(clock >= start) & (clock < start + 3)] for clock in (slow, fast))
            poses[(slow >= start) & (slow < start + 3), 16, 1] += 0.5 * np.sin((2 + 4 * label) * inside)
            imu[(fast >= start) & (fast < start + 3), 3] += np.sin((4 + 8 * label) * shaken)
            rows.append([start, start + 3, ("wave", "shake")[label], f"{person}.csv", f"{person}.npz", split])
        poses[random.random((len(slow), 33)) < 0.05] = np.nan
        np.savez(root / f"{person}.npz", skeleton=poses * np.array([1, -1, -1]), seconds=slow)
        lines = (",".join(f"{value:.5f}" for value in (second, *values)) for second, values in zip(fast, imu, strict=True))
        (root / f"{person}.csv").write_text("\n".join([f"seconds,{','.join(AXES)}", *lines]))
    with (root / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["start_seconds", "stop_seconds", "action", "imu_path", "skeleton_path", "split"], *rows])
    return root


def test_they_train_a_student_that_says_what_is_doubtful(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = build(Recipe, {
        "name": "own", "seeds": [0], "trainings_at_once": 1, "data": {"dataset": "folder", "root": str(own), "workers": 1},
        "modalities": {"imu": {"seconds": 1.28, "span": "segment"}, "skeleton": {"frames": 12, "layout": "mediapipe"},
                       "depth": {"frames": 4, "size": 16, "content": "person"}},
        "teacher": {"recognizer": RECOGNIZER, "training": TRAINING, "pretraining": TRAINING, "pretraining_split": "train"},
        "student": {"recognizer": {**RECOGNIZER, "own_votes": True, "kernels": {"count": 20, "passes": 1}},
                    "training": TRAINING, "pretraining": TRAINING, "pretraining_split": "train"},
        "methods": {"own_votes": {"subsets": "uniform", "own_weight": 0.6},
                    "karmma": {"dropout": 0.3, "distillation": {"alpha": 0.5}}},
    }, "recipe")  # fmt: skip
    results = run(recipe, tmp_path / "run")
    said = capsys.readouterr().out
    assert f"read.train: imu is doubtful in 1 of the first files: {own}/0.csv: the median force is 1" in said
    assert "read.train: no clip has depth" in said and results["available"]["train"] == {"imu": 12, "skeleton": 12, "depth": 0}
    assert results["unreadable"] == {"train": 0, "test": 0}
    assert results["unimodal"]["depth"] == {"action_top1": None, "action_top5": None}
    assert '<img class="joints" alt="skeleton" src="data:image/png' in (tmp_path / "run" / "report.html").read_text()
    checkpoint = tmp_path / "run" / "seed0" / "own_votes"
    assert read_info(checkpoint).provenance["train_clips"] == results["available"]["train"]
    assert json.loads((checkpoint / "config.json").read_text())["specs"]["skeleton"]["skeleton"] == "mediapipe"
    student = karmma.load(checkpoint)
    answer = student.predict({"imu": own / "1.csv", "skeleton": own / "1.npz"}, start_seconds=3.0, stop_seconds=6.0)
    assert answer.modalities == ("imu", "skeleton") and set(answer.doubted) == {"imu"} and not answer.unreadable
    somebody = np.pad(np.full((60, 10, 8), 2.0), ((0, 0), (10, 10), (10, 10)))
    np.savez(tmp_path / "depth.npz", depth_metres=somebody, seconds=np.arange(60) / 20)
    assert student.predict({"depth": tmp_path / "depth.npz"}).doubted == {"depth": UNMET}
    capsys.readouterr()
    run(recipe, tmp_path / "run")
    assert "doubtful" not in capsys.readouterr().out  # nothing was read
