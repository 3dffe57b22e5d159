"""How arms are trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from karmma.config import load_recipe
from karmma.experiment.arms import training_of
from karmma.experiment.context import Context
from karmma.experiment.kernels import votes_with_kernels

RECIPES = Path(__file__).parents[2] / "recipes"


def test_a_methods_own_length_replaces_that_of_the_students_training(tmp_path: Path) -> None:
    context = Context(load_recipe(RECIPES / "utd_mhad.yaml"), tmp_path)
    student, tutors = context.recipe.student.training, training_of(context, "tutors")
    assert training_of(context, "karmma") == student
    assert tutors == replace(student, epochs=15)


def test_random_kernels_vote_where_the_recipe_has_some_and_absence_is_known(tmp_path: Path) -> None:
    context = Context(load_recipe(RECIPES / "utd_mhad.yaml"), tmp_path)
    voting = [name for name, method in context.recipe.methods.items() if votes_with_kernels(context, method)]
    assert voting == ["specialists", "late_fusion", "baseline", "baseline_dropout", "uniform", "own_votes", "karmma"]
    plain = Context(load_recipe(RECIPES / "utd_mhad.yaml", ["student.recognizer.kernels=null"]), tmp_path)
    assert not any(votes_with_kernels(plain, method) for method in plain.recipe.methods.values())
