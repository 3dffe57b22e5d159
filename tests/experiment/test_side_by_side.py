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
from functools import partial
from pathlib import Path

import pytest
import torch

from karmma.config import Recipe, load_recipe
from karmma.experiment import side_by_side
from karmma.experiment.arms import Training
from karmma.experiment.context import Context
from karmma.experiment.jobs import Job, evaluations, preparations, train_alone, trainings
from karmma.experiment.run import run
from karmma.experiment.side_by_side import count_at_once, run_jobs, run_side_by_side
from karmma.trees import build
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


def test_the_largest_clips_are_prepared_first(tmp_path: Path) -> None:
    context = Context(load_recipe(RECIPES / "utd_mhad.yaml", ["seeds=[4]"]).only(["karmma"]), tmp_path)
    assert [job.stage for job in preparations(context)] == [
        *(f"pretrain.student.{name}" for name in ("depth", "skeleton", "imu")),
        *(f"seed4.kernels.{name}" for name in ("depth", "skeleton", "imu")),
    ]
    assert not any(job.needs for job in preparations(context))


def test_students_that_are_taught_begin_first_and_small_specialists_last(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES / "utd_mhad.yaml", ["seeds=[3, 5]", "methods.tutors.specialists=true"])
    context = Context(recipe.only(["karmma", "baseline"]), tmp_path)
    order = [job.stage for job in trainings(context)]
    assert order[0] == "seed3.karmma" and set(order[1:3]) == {"seed3.tutors.imu+skeleton+depth", "seed3.baseline"}
    assert order[8] == "seed3.tutors.imu" and order[9] == "seed5.karmma" and len(order) == 18


def test_each_model_waits_for_what_it_is_built_on(tmp_path: Path) -> None:
    context = Context(load_recipe(RECIPES / "utd_mhad.yaml", ["methods.tutors.specialists=true"]), tmp_path)
    needs = {job.stage: job.needs for job in trainings(context)}
    assert needs["seed0.tutors.imu+skeleton"] == {"pretrain.student.imu", "pretrain.student.skeleton"}  # no kernels
    assert "seed0.kernels.imu" in needs["seed0.specialists.imu"] and "seed0.kernels.depth" not in needs["seed0.specialists.imu"]
    assert needs["seed0.karmma"] >= {stage for stage in needs if ".tutors." in stage} | {"seed0.kernels.depth"}
    assert not any(stage.startswith("seed0.tutors") for stage in needs["seed0.own_votes"])


def test_an_arm_is_tested_when_its_models_are_there(tmp_path: Path) -> None:
    context = Context(load_recipe(RECIPES / "utd_mhad.yaml"), tmp_path)
    needs = {job.stage: job.needs for job in evaluations(context)}
    assert needs["seed0.karmma.evaluate"] == {"seed0.karmma"} and needs["seed0.teacher.evaluate"] == frozenset()
    assert needs["seed0.late_fusion.evaluate"] == {"seed0.specialists.evaluate"} and "seed0.tutors.evaluate" not in needs
    assert len(needs["seed0.specialists.evaluate"]) == 7


def test_jobs_wait_for_what_they_need_and_the_last_one_is_left_to_all_threads(
    kitchen_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(recipe_of(kitchen_root), tmp_path)

    def job(stage: str, *needs: str) -> Job:
        return Job(stage, {}, partial(write_note, stage=stage, needs=needs), frozenset(needs))

    jobs = [job("last", "long", "short"), job("long"), job("middle", "short"), job("short"), job("test", "last")]
    left = run_side_by_side(context, jobs, 2)
    assert [one.stage for one in left] == ["last", "test"]
    assert {path.name for path in tmp_path.glob("*.note")} == {"long.note", "middle.note", "short.note"}
    with context.book.stage("short", {}):
        pass
    (tmp_path / "short.note").unlink()
    monkeypatch.setattr(side_by_side, "count_at_once", lambda *_: 1)
    with pytest.raises(AssertionError, match="short"):
        run_jobs(context, jobs[2:4], {"train": context.clips_of("train")})  # its marker says it is there


def write_note(context: Context, stores: object, stage: str, needs: tuple[str, ...]) -> None:
    for other in needs:
        assert (context.directory / f"{other}.note").exists(), other
    deadline = time.monotonic() + 60
    while stage == "long" and not (context.directory / "middle.note").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0 * (stage == "long"))  # the last of the others has said by then that it is done
    (context.directory / f"{stage}.note").touch()


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


def baselines() -> list[Job]:
    found = [Training("baseline", seed) for seed in range(2)]
    return [Job(one.stage, {}, partial(train_alone, training=one)) for one in found]


def test_a_killed_training_is_named_and_the_others_end_with_it(kitchen_root: Path, tmp_path: Path) -> None:
    context = Context(recipe_of(kitchen_root), tmp_path)
    jobs = baselines()
    before = set(multiprocessing.active_children())

    def kill() -> None:
        while not (children := set(multiprocessing.active_children()) - before):
            time.sleep(0.05)
        first = min(child.pid for child in children if child.pid)  # a pool may see the end of a later one only with its next result
        os.kill(first, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(KarmmaError, match=r"killed while 2 ran side by side.*trainings_at_once=1"):
        run_side_by_side(context, jobs, 2)
    killer.join()
    assert set(multiprocessing.active_children()) <= before


def test_a_training_that_fails_says_why(kitchen_root: Path, tmp_path: Path) -> None:
    context = Context(recipe_of(kitchen_root), tmp_path)  # nothing has been pre-trained
    with pytest.raises(KarmmaError, match=r"weights not found: .*extractors/student/rgb.safetensors"):
        run_side_by_side(context, baselines(), 2)


def stay_or_fail(context: Context, stores: object, stage: str) -> None:
    """One training fails as soon as the other is there, which does not hear that it should end."""
    note = context.directory / "stubborn.note"
    if stage == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note.touch()
        time.sleep(300)
    while not note.exists():
        time.sleep(0.05)
    raise KarmmaError("this one fails")


def test_a_training_that_fails_does_not_wait_for_others_that_go_on(kitchen_root: Path, tmp_path: Path) -> None:
    """One that only heard it should end hung with its parent where a process had died with the lock of their queue."""
    context, started = Context(recipe_of(kitchen_root), tmp_path), time.monotonic()
    jobs = [Job(stage, {}, partial(stay_or_fail, stage=stage)) for stage in ("stubborn", "failing")]
    with pytest.raises(KarmmaError, match="this one fails"):
        run_side_by_side(context, jobs, 2)
    assert time.monotonic() - started < 120


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
