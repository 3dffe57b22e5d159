"""What a checkpoint says of every clip, from EPIC's files to its official figures and the challenge's zip."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import karmma
from karmma.cli import app
from karmma.types import KarmmaError, LabelSpace

from ..datasets.test_epic import official  # noqa: F401  a fixture
from ..deploy.conftest import save_student

LABELS = LabelSpace({head: tuple(f"{head}{index}" for index in range(count)) for head, count in (("verb", 97), ("noun", 300))})
SETTINGS: dict[str, dict[str, Any]] = {
    "rgb": {"frames": 2, "height": 24, "width": 32}, "audio": {"seconds": 0.5, "bands": 16},
}  # fmt: skip


@pytest.fixture
def epic_root(official: Path, clock_video: Path) -> Path:  # noqa: F811
    """Two validation clips and a test clip of a film with sound."""
    for name in ("P02_1", "P03_1"):
        (official.parent / f"{name}.MP4").write_bytes(clock_video.read_bytes())
    return official.parent


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_student(tmp_path / "student", SETTINGS, LABELS, provenance={"dataset": "epic"})


def call(*arguments: str) -> tuple[int, str]:
    """Exit code and words of a command, as the program's own entry point gives them."""
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, KarmmaError):
        return 2, str(result.exception)
    return result.exit_code, result.output


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_clips_without_labels_become_the_challenges_zip(epic_root: Path, checkpoint: Path, tmp_path: Path) -> None:
    code, output = call("scores", str(checkpoint), str(epic_root), "--out", str(tmp_path / "test.npz"))
    assert code == 0 and "1 clips, verb, noun" in output
    content = read(tmp_path / "test.npz")
    assert content["narration_id"].tolist() == ["P03_1_0"] and content["verb"].shape == (1, 97) and content["noun"].shape == (1, 300)
    prediction = karmma.load(checkpoint).predict(epic_root / "P03_1.MP4", start_seconds=1.0, stop_seconds=2.0)
    top = prediction.top("verb")
    best, shares = int(content["verb"][0].argmax()), torch.tensor(content["verb"][0]).softmax(0)
    assert top.name == f"verb{best}" and top.probability == pytest.approx(float(shares[best]), abs=1e-4)
    arguments = ("--annotations", str(epic_root / "annotations"), "--out", str(tmp_path / "test.zip"))
    code, output = call("submit", "epic", str(tmp_path / "test.npz"), *arguments, "--sls-td", "4")
    assert code == 0, output
    with zipfile.ZipFile(tmp_path / "test.zip") as archive:
        sent = json.loads(archive.read("test.json"))
    assert (sent["sls_pt"], sent["sls_tl"], sent["sls_td"]) == (2, 3, 4) and set(sent["results"]) == {"P03_1_0"}
    code, output = call("submit", "epic", str(tmp_path / "test.npz"), *arguments, "--sls-td", "6")
    assert code == 2 and "--sls-td" in output


def test_official_figures_of_a_checkpoint(epic_root: Path, checkpoint: Path, tmp_path: Path) -> None:
    code, output = call("scores", str(checkpoint), str(epic_root), "--split", "validation", "--out", str(tmp_path / "v.npz"))
    assert code == 0, output
    code, output = call("metrics", "epic", str(tmp_path / "v.npz"), "--annotations", str(epic_root / "annotations"))
    assert code == 0 and "all_action_accuracy_at_1" in output


def test_only_some_sensors_and_clips_of_which_nothing_is_left(epic_root: Path, checkpoint: Path, tmp_path: Path) -> None:
    (epic_root / "P02_1.MP4").write_bytes(b"broken")
    out = tmp_path / "v.npz"
    code, output = call("scores", str(checkpoint), str(epic_root), "--split", "validation", "--only", "audio", "--out", str(out))
    assert code == 3 and "of 2 clips nothing could be read, e.g. P02_1_0" in output and not read(out)["verb"].any()
    code, output = call("scores", str(checkpoint), str(epic_root), "--only", "imu", "--out", str(out))
    assert code == 2 and "has no modality 'imu'; it has rgb, audio" in output
    code, output = call("scores", str(checkpoint), str(epic_root), "--out", str(tmp_path / "v.csv"))
    assert code == 2 and "scores are written as .npz" in output


UNLABELLED = (
    "split 'test' cannot be learnt from or tested on: P03_1_0 has no verb or noun; with labels there is: train, validation"
)
OWN = """
name: own
data: {{dataset: epic, root: {root}}}
modalities: {{rgb: {{}}, audio: {{}}}}
teacher: &role
  recognizer: {{encoders: {{rgb: {{kind: frames, width: 8}}, audio: {{kind: spectrogram, width: 8}}}}, dim: 16}}
  training: {{epochs: 1}}
student: *role
methods:
  karmma: {{}}
"""


def test_unlabelled_splits_can_be_neither_evaluated_nor_run_on(epic_root: Path, checkpoint: Path, tmp_path: Path) -> None:
    (epic_root / "P01_1.MP4").write_bytes((epic_root / "P02_1.MP4").read_bytes())
    code, output = call("evaluate", str(checkpoint), str(epic_root))
    assert code == 2 and UNLABELLED in output
    (tmp_path / "own.yaml").write_text(OWN.format(root=epic_root))
    code, output = call("run", str(tmp_path / "own.yaml"), "--out", str(tmp_path / "run"))
    assert code == 2 and UNLABELLED in output and not (tmp_path / "run" / "clips").exists()
