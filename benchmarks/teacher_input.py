"""What a distillation step costs by how the teacher looks: live, beforehand, and beforehand with its answers remembered.

python benchmarks/teacher_input.py RUN

RUN is a finished run of recipes/kitchen.yaml. One thread; batches as the recipe's students get them, p = 0.3, own votes on;
every part is timed on the same batches, the ways take turns, median of several rounds. Beside them the student's own step
and what one look at every training clip costs once.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from recording import write_result

from karmma.config import Recipe
from karmma.data.loading import EpochLoader, TrainingBatch
from karmma.data.missing import IndependentDropout
from karmma.data.tokens import TokenStore
from karmma.experiment.context import STUDENT, TEACHER, Context
from karmma.files import read_json
from karmma.models.checkpoint import load_checkpoint
from karmma.training.teachers import CachedTeacher, LiveTeacher, Teacher
from karmma.trees import build
from karmma.workers import use_one_thread

ROUNDS, BATCHES, VIEWS = 5, 12, 3


def seconds_of(work: Callable[[TrainingBatch], Any], items: list[TrainingBatch]) -> float:
    """Mean seconds per batch."""
    began = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - began) / len(items)


@torch.no_grad()
def ask(teacher: Teacher, item: TrainingBatch) -> None:
    """What a student with own votes asks in a step: the fused answer, and each sensor's alone."""
    answers = teacher.answers(item, item.present)
    answers(torch.arange(len(item.batch)), item.present)
    for name, flags in item.present.items():
        rows = flags.nonzero().flatten()
        if len(rows):
            answers(rows, {other: torch.full_like(rows, other == name, dtype=torch.bool) for other in item.present})


def main() -> None:
    use_one_thread()
    run = Path(sys.argv[1])
    context = Context(build(Recipe, read_json(run / "recipe.json"), str(run)), run)
    store, training = context.clips_of("train"), context.recipe.student.training
    model, _ = load_checkpoint(context.seed_directory(context.recipe.seeds[0], TEACHER))
    student = context.new_model(context.part(STUDENT).recognizer, context.names, 0)

    def step(item: TrainingBatch) -> None:
        fused, votes = student.answers(item.batch.data, item.present, [item.present])
        sum(value.square().mean() for logits in (*fused, *votes.values()) for value in logits.values()).backward()  # type: ignore[union-attr]

    with tempfile.TemporaryDirectory() as directory, torch.no_grad():
        began = time.perf_counter()
        tokens = TokenStore.write(Path(directory), store, {name: model.encoder(name) for name in context.names}, VIEWS)
        look = (time.perf_counter() - began) / VIEWS

        def loader(cached: bool) -> EpochLoader:
            given = tokens if cached else None
            return EpochLoader(store, training.batch_size, 0, 0, augment=True, tokens=given, scenario=IndependentDropout(0.3))

        fresh, looks = ([loader(cached).make(number) for number in range(BATCHES)] for cached in (False, True))
        teachers: dict[str, tuple[Teacher, list[TrainingBatch]]] = {
            "live": (LiveTeacher(model), fresh),
            "beforehand": (CachedTeacher(model), looks),
            "beforehand, remembered": (CachedTeacher(model, tokens), looks),
        }
        rounds: dict[str, list[float]] = {}
        for _ in range(ROUNDS + 1):
            for name, (teacher, items) in teachers.items():
                rounds.setdefault(f"teacher {name}", []).append(seconds_of(partial(ask, teacher), items))
            for cached, name in ((False, "clips, fresh"), (True, "clips, numbered looks with tokens")):
                rounds.setdefault(name, []).append(timed_loading(loader(cached)))
            with torch.enable_grad():
                rounds.setdefault("student, forward and backward", []).append(seconds_of(step, fresh))
    parts = {name: round(1000 * statistics.median(values[1:]), 1) for name, values in rounds.items()}  # the first round warms up
    write_result("teacher_input", {
        "batch": training.batch_size, "clips": len(store), "milliseconds_per_batch": parts,
        "seconds_per_look_at_every_clip": round(look, 1),
    })  # fmt: skip


def timed_loading(loader: EpochLoader) -> float:
    began = time.perf_counter()
    for number in range(BATCHES):
        loader.make(number)
    return (time.perf_counter() - began) / BATCHES


if __name__ == "__main__":
    main()
