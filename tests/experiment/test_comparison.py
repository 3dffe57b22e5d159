"""`karmma compare` on runs that hold nothing but logits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from karmma.cli import app
from karmma.evaluation.evaluate import LOGITS, SubsetLogits
from karmma.experiment.comparison import compare_runs, read_outcomes
from karmma.types import KarmmaError, subsets_of

NAMES = ("rgb", "audio")
SAMPLES = 40


def make_logits(right: float, seed: int, first: int = 0) -> SubsetLogits:
    """Logits of two classes that are right with a probability; three of four samples have sound."""
    generator = torch.Generator().manual_seed(seed)
    available = torch.ones(SAMPLES, 2, dtype=torch.bool)
    available[::4, 1] = False
    labels = torch.arange(SAMPLES) % 2
    logits = {}
    for subset in subsets_of(NAMES):
        answers = torch.where(torch.rand(SAMPLES, generator=generator) < right, labels, 1 - labels)
        values = torch.nn.functional.one_hot(answers, 2).float()
        values[~available[:, [NAMES.index(name) for name in subset]].any(1)] = torch.nan
        logits[subset] = {"action": values}
    names = tuple(f"clip{first + row}" for row in range(SAMPLES))
    people = tuple(f"p{row // 8}" for row in range(SAMPLES))
    return SubsetLogits(NAMES, available, {"action": labels}, logits, names, people)


def write(run: Path, method: str, seed: int, logits: SubsetLogits) -> None:
    where = run / f"seed{seed}" / method
    where.mkdir(parents=True)
    logits.save(where / LOGITS)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two folds with two seeds: `better` is right far more often; `once` was tested with one seed alone."""
    folds = [tmp_path / "fold0", tmp_path / "fold1"]
    for number, run in enumerate(folds):
        for seed in (0, 1):
            write(run, "baseline_dropout", seed, make_logits(0.5, 10 * number + seed, SAMPLES * number))
            write(run, "better", seed, make_logits(0.95, 100 + 10 * number + seed, SAMPLES * number))
        write(run, "once", 0, make_logits(0.5, 7, SAMPLES * number))
    return folds


def test_every_method_is_compared_by_subset_sensors_and_seed(runs: list[Path]) -> None:
    found = compare_runs(runs, "baseline_dropout")
    assert list(found["differences"]) == ["better"] and found["seeds"] == [0, 1] and found["samples"] == 2 * SAMPLES
    row = found["differences"]["better"]
    assert row["mean"]["low"] > 20 and row["mean"]["low"] < row["mean"]["difference"] < row["mean"]["high"]
    assert list(row["by_sensors"]) == ["2", "1"] and list(row["by_subset"]) == ["rgb+audio", "rgb", "audio"]
    assert sum(row["by_seed"]) / 2 == pytest.approx(row["mean"]["difference"])
    assert found["top1"]["better"]["mean"] - found["top1"]["baseline_dropout"]["mean"] == pytest.approx(row["mean"]["difference"])
    assert found["groups"] == 2 * 5 * 2  # five participants, two labels, in each of two folds


def test_a_sample_without_the_sensor_does_not_count(runs: list[Path]) -> None:
    hits = read_outcomes(runs[:1], [0], "better").hits
    assert torch.from_numpy(hits["audio"]).isnan().sum() == SAMPLES // 4 and not torch.from_numpy(hits["rgb"]).isnan().any()


def test_the_command_prints_writes_and_draws(runs: list[Path], tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "c.json"), "--plot", str(tmp_path / "c.png")]
    done = CliRunner().invoke(app, ["compare", *map(str, runs), *files])
    assert done.exit_code == 0, done.output
    assert "better" in done.stdout and "once" not in done.stdout and "20 groups" in done.stdout
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["against"] == "baseline_dropout" and content["versions"]["karmma"] and "git_commit" in content
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_compared_is_said(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match="no method 'once'; there is: baseline_dropout, better"):
        compare_runs(runs, "once")
    with pytest.raises(KarmmaError, match=r"no directories seed<number>"):
        compare_runs([tmp_path / "nowhere"], "better")
    with pytest.raises(KarmmaError, match="clip0 was tested in"):
        compare_runs([runs[0], runs[0]], "better")
    with pytest.raises(KarmmaError, match="no verb_top1; there is: action_top1, action_top5"):
        compare_runs(runs, "better", "verb_top1")
    old, other, single = tmp_path / "old", tmp_path / "other", tmp_path / "single"
    write(single, "better", 0, make_logits(0.5, 0))
    with pytest.raises(KarmmaError, match="nothing to compare, better alone was tested"):
        compare_runs([single], "better")
    write(old, "worse", 0, make_logits(0.5, 0))
    write(old, "better", 0, replace(make_logits(0.5, 0), names=(), participants=()))
    with pytest.raises(KarmmaError, match="does not say whose logits these are"):
        compare_runs([old], "better")
    for seed in (0, 1):
        write(other, "better", seed, make_logits(0.5, 0, first=seed))
        write(other, "worse", seed, make_logits(0.5, 0, first=seed))
    with pytest.raises(KarmmaError, match="tested on other samples than with another seed"):
        compare_runs([other], "better")
