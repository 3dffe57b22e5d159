"""How arms are trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from karmma.config import load_recipe
from karmma.experiment.arms import arm_settings, training_of
from karmma.experiment.context import Context
from karmma.experiment.kernels import votes_with_kernels

RECIPES = Path(__file__).parents[2] / "recipes"


def test_a_methods_own_length_replaces_that_of_the_students_training(tmp_path: Path) -> None:
    context = Context(load_recipe(RECIPES / "utd_mhad.yaml"), tmp_path)
    student, tutors = context.recipe.student.training, training_of(context, "tutors")
    assert training_of(context, "karmma") == student
    assert tutors == replace(student, epochs=12)


def test_what_only_teaches_is_not_tested_beside_its_student(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES / "utd_mhad.yaml")
    assert Context(recipe.only(["karmma"]), tmp_path).arms == ("karmma",)
    assert Context(recipe.only(["tutors"]), tmp_path).arms == ("tutors",)
    both = load_recipe(RECIPES / "utd_mhad.yaml", ["methods.tutors.tested=true"]).only(["karmma"])
    assert Context(both, tmp_path).arms == ("tutors", "karmma")
    settings = [arm_settings(Context(some, tmp_path), "karmma") for some in (recipe, both)]
    assert settings[0] == settings[1]  # a model is not trained anew because it is to be tested


def test_random_kernels_vote_where_the_recipe_has_some_and_absence_is_known(tmp_path: Path) -> None:
    context = Context(load_recipe(RECIPES / "utd_mhad.yaml"), tmp_path)
    voting = [name for name, method in context.recipe.methods.items() if votes_with_kernels(context, method)]
    assert voting == ["specialists", "late_fusion", "baseline", "baseline_dropout", "uniform", "own_votes", "karmma"]
    plain = Context(load_recipe(RECIPES / "utd_mhad.yaml", ["student.recognizer.kernels=null"]), tmp_path)
    assert not any(votes_with_kernels(plain, method) for method in plain.recipe.methods.values())
