"""Trainings in processes of their own, as many at once as there are cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from karmma.config import Recipe, build, load_recipe
from karmma.experiment.arms import Training, trainings_of
from karmma.experiment.context import Context
from karmma.experiment.run import run
from karmma.experiment.side_by_side import count_at_once, longest_first, rounds, train_side_by_side
from karmma.types import KarmmaError

from .test_run import tiny_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
ARMS = {
    "tutors": {"specialists": "single", "absent": "skip", "tested": False},
    "baseline": {"absent": "skip"},
    "karmma": {"dropout": 0.3, "extractors_from": "tutors", "distillation": {"alpha": 0.5, "teachers": ["tutors", "teacher"]}},
}


def recipe_of(kitchen_root: Path) -> Recipe:
    return build(Recipe, tiny_recipe(kitchen_root) | {"seeds": [0], "methods": ARMS}, "recipe")


def test_what_others_build_on_comes_in_an_earlier_round() -> None:
    utd = load_recipe(RECIPES / "utd_mhad.yaml").methods
    assert rounds(utd) == [
        ["tutors", "specialists", "early_fusion", "baseline", "baseline_dropout", "uniform", "own_votes"],
        ["late_fusion", "karmma"],
    ]
    assert rounds({}) == []


def test_students_that_are_taught_begin_first_and_small_specialists_last(tmp_path: Path) -> None:
    context = Context(load_recipe(RECIPES / "utd_mhad.yaml"), tmp_path)
    trainings = [one for name in ("tutors", "baseline", "karmma") for one in trainings_of(context, name, 3)]
    order = [one.stage for one in longest_first(context, trainings)]
    assert order[0] == "seed3.karmma"
    assert set(order[1:3]) == {"seed3.tutors.imu+skeleton+depth", "seed3.baseline"}
    assert order[-1] == "seed3.tutors.depth" and len(order) == 9


def test_trainings_share_what_threads_there_are(
    kitchen_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(recipe_of(kitchen_root), tmp_path)
    store = context.clips_of("train")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert [count_at_once(context, store, trainings) for trainings in (1, 3, 9)] == [1, 3, 4]
    told = replace(context, recipe=replace(context.recipe, trainings_at_once=2))
    assert count_at_once(told, store, 9) == 2
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert count_at_once(told, store, 9) == 1
    monkeypatch.undo()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert count_at_once(told, store, 9) == 1


def test_side_by_side_the_same_weights_come_out_as_one_after_another(kitchen_root: Path, tmp_path: Path) -> None:
    recipe, threads = recipe_of(kitchen_root), torch.get_num_threads()
    torch.set_num_threads(1)  # as many as each of two processes has: sums are rounded alike
    try:
        alone = run(replace(recipe, trainings_at_once=1), tmp_path / "alone")
        together = run(replace(recipe, trainings_at_once=2), tmp_path / "together")
    finally:
        torch.set_num_threads(threads)
    assert together["methods"] == alone["methods"]
    weights = sorted(path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").glob("seed0/**/model.safetensors"))
    assert len(weights) == 3 + 1 + 1 + 1  # tutors, baseline, karmma, teacher
    for path in weights:
        assert (tmp_path / "alone" / path).read_bytes() == (tmp_path / "together" / path).read_bytes(), path


def test_a_killed_training_is_named_and_the_others_end_with_it(kitchen_root: Path, tmp_path: Path) -> None:
    context = Context(recipe_of(kitchen_root), tmp_path)
    trainings = [Training("baseline", seed) for seed in range(2)]
    before = set(multiprocessing.active_children())

    def kill() -> None:
        while not (children := set(multiprocessing.active_children()) - before):
            time.sleep(0.05)
        first = min(child.pid for child in children if child.pid)  # a pool may see the end of a later one only with its next result
        os.kill(first, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(KarmmaError, match=r"killed while 2 ran side by side.*trainings_at_once=1"):
        train_side_by_side(context, trainings, 2)
    killer.join()
    assert set(multiprocessing.active_children()) <= before


def test_a_training_that_fails_says_why(kitchen_root: Path, tmp_path: Path) -> None:
    context = Context(recipe_of(kitchen_root), tmp_path)  # nothing has been pre-trained
    with pytest.raises(KarmmaError, match=r"weights not found: .*extractors/student/rgb.safetensors"):
        train_side_by_side(context, [Training("baseline", 0), Training("baseline", 1)], 2)


ORPHAN = """
import os, signal, time
from karmma.experiment.side_by_side import begin_trainer
from karmma.workers import worker_pool
if __name__ == "__main__":
    with worker_pool(1, begin_trainer, 1, None) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_no_training_behind(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(ORPHAN)
    # the trainer holds this pipe, too, so that the call ends with the later of the two
    killed = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL and killed.stdout.strip().isdigit()
