"""Two processes under torchrun: the losses of one, and resuming after one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from karmma.training.history import read_history

RECIPE = {
    "name": "tiny",
    "data": {"dataset": "kitchen", "workers": 1},
    "modalities": {"detections": {"frames": 4}, "imu": {"seconds": 1.0}},
    "teacher": {
        "recognizer": {"encoders": {"detections": {"kind": "layout", "width": 32}, "imu": {"kind": "tests.training.linear:make"}},
                       "dim": 32, "head_dim": 32, "dropout": 0.0},
        "pretraining": {"epochs": 1, "batch_size": 4}, "training": {"epochs": 1, "batch_size": 4}, "pretraining_split": "train",
        "token_views": 2,
    },
    "student": {
        "recognizer": {"encoders": {"detections": {"kind": "layout", "width": 16}, "imu": {"kind": "tests.training.linear:make"}},
                       "dim": 16, "head_dim": 16, "dropout": 0.0, "own_votes": True, "kernels": {"count": 20, "passes": 1}},
        "training": {"epochs": 3, "batch_size": 4, "checkpoint_activations": True},
    },
    "methods": {
        "karmma": {"dropout": 0.3, "own_weight": 0.5, "distillation": {"alpha": 0.5}},
        "beforehand": {"dropout": 0.3, "own_weight": 0.5, "distillation": {"alpha": 0.5, "teacher_input": "cached"}},
    },
    "evaluation": {"sweep": [], "examples": 0},
}  # fmt: skip


def write_recipe(directory: Path, root: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    recipe = json.loads(json.dumps(RECIPE))
    recipe["data"]["root"] = str(root)
    for part in ("teacher", "student"):
        for stage in ("pretraining", "training"):
            if stage in recipe[part]:
                recipe[part][stage] |= {"precision": "32-true", "weight_decay": 0.0}
    path = directory / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def command(recipe: Path, out: Path, processes: int) -> list[str]:
    run = ["run", str(recipe), "--out", str(out)]
    if processes == 1:
        return [sys.executable, "-m", "karmma.cli", *run]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "karmma.cli", *run]


def environment() -> dict[str, str]:
    here = Path(__file__).resolve().parents[2]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}


def losses(out: Path, stage: str) -> list[float | None]:
    """Loss of every epoch of a stage."""
    folder = out / stage if stage.startswith("extractors") else out / stage / "training"
    return [row["loss"] for row in read_history(folder / "history.csv")]


@pytest.fixture(scope="module")
def alone(kitchen_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("processes")
    recipe = write_recipe(directory, kitchen_root)
    subprocess.run(command(recipe, directory / "one", 1), check=True, env=environment(), capture_output=True, timeout=300)
    return recipe, directory / "one"


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_with_half_the_batch_reach_the_losses_of_one(
    alone: tuple[Path, Path], tmp_path: Path, strategy: str
) -> None:
    recipe, one = alone
    overrides = [f"{part}.strategy={strategy}" for part in ("teacher.pretraining", "teacher.training", "student.training")]
    overrides += ["watch.every_epochs=1"] if strategy == "ddp" else []
    words = [*command(recipe, tmp_path / "two", 2), *overrides]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("mean over subsets") == 1  # the first process talks
    for stage in ("extractors/teacher/detections", "seed0/teacher", "seed0/karmma", "seed0/beforehand"):
        pair = [losses(out, stage) for out in (one, tmp_path / "two")]
        assert pair[0] and pair[0] == pytest.approx(pair[1], abs=1e-5), stage
    rules = [(out / "seed0" / "kernels" / "imu.safetensors").read_bytes() for out in (one, tmp_path / "two")]
    assert rules[0] == rules[1]  # the first process alone fits them, to whole batches
    figures = [json.loads((out / "results.json").read_text())["methods"]["karmma"]["subsets"] for out in (one, tmp_path / "two")]
    assert figures[0] == figures[1]
    watched = [row.get("validation_action_top1") for row in read_history(tmp_path / "two/seed0/karmma/training/history.csv")]
    assert all((value is not None) == (strategy == "ddp") for value in watched) and watched


def test_a_run_killed_in_one_process_resumes(alone: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, one = alone
    out = tmp_path / "killed"
    running = subprocess.Popen(command(recipe, out, 2), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = out / "seed0" / "karmma" / "training" / "state.ckpt"
    while running.poll() is None and not state.exists():
        time.sleep(0.01)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split() if running.poll() is None else []
    if children:
        os.kill(int(children[-1]), signal.SIGKILL)
    assert running.wait(60) != 0 or (out / "results.json").exists()
    done = subprocess.run(command(recipe, out, 2), env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads((where / "results.json").read_text())["methods"]["karmma"]["subsets"] for where in (one, out)]
    assert results[0] == results[1]


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from karmma.data.loading import share_of
    from karmma.types import KarmmaError

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert share_of(6) == slice(3, 6)
    with pytest.raises(KarmmaError, match="a batch of 5 cannot be shared evenly by 2 processes"):
        share_of(5)
