"""`karmma profile`: a paper-size recipe is counted without being built; a checkpoint is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from karmma.cli import app
from karmma.models.checkpoint import CheckpointInfo, save_checkpoint
from karmma.types import KarmmaError, LabelSpace

from ..conftest import LABEL_SIZES, SPECS, make_recognizer

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "karmma_epic100.yaml"
PUBLISHED = {
    "student": {"rgb+flow+audio": 358.166719, "rgb+flow": 353.031127, "rgb+audio": 181.281226, "rgb": 176.378806,
                "audio": 4.672219},
    "teacher": {"rgb+flow+audio": 1707.166449, "rgb+flow": 1137.010955, "rgb": 567.961388},
}  # fmt: skip


def test_the_paper_size_recipe_equals_the_published_gflops(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    arguments = ["profile", str(RECIPE), "--json", str(out), "--plots", str(tmp_path / "plots"), "--repeats", "0"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    measured = json.loads(out.read_text())["recognizers"]
    for role, bars in PUBLISHED.items():
        for subset, value in bars.items():
            assert measured[role][subset]["gflops"] == pytest.approx(value, rel=1e-4), (role, subset)
    assert (tmp_path / "plots" / "gflops.png").read_bytes()[:4] == b"\x89PNG"


def test_a_checkpoint_is_measured(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = make_recognizer()
    labels = LabelSpace({head: tuple(f"{head}{i}" for i in range(count)) for head, count in LABEL_SIZES.items()})
    save_checkpoint(tmp_path / "student", model, CheckpointInfo(model.config, SPECS, labels, {}, {}))
    arguments = ["profile", str(tmp_path / "student"), "--json", str(tmp_path / "p.json"), "--repeats", "1", "--batch", "2"]
    done = CliRunner().invoke(app, [*arguments, "--plots", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "p.json").read_text())["recognizers"]["student"]
    assert len(rows) == 15
    assert "profiler" not in capfd.readouterr().err  # torch's own lines
    everything, alone = rows["rgb+audio+imu+detections"], rows["imu"]
    assert everything["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert alone["parameters"] < everything["parameters"] and alone["gflops"] < alone["gflops_with_absent_tokens"]
    for row in rows.values():
        assert row["peak_megabytes"] > row["weights_megabytes"] and row["latency_ms"] > 0 and row["clips_per_second"] > 0
    assert (tmp_path / "memory.png").exists()


def test_what_is_neither_recipe_nor_checkpoint_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["profile", str(tmp_path)])
    assert isinstance(done.exception, KarmmaError) and "is not a checkpoint" in str(done.exception)
