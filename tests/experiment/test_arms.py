"""How arms are trained."""

from __future__ import annotations

from pathlib import Path

from karmma.config import load_recipe
from karmma.experiment.arms import training_of
from karmma.experiment.context import Context

RECIPES = Path(__file__).parents[2] / "recipes"


def test_a_methods_own_length_and_blends_replace_those_of_the_students_training(tmp_path: Path) -> None:
    overrides = ["student.training.blend_within_class={imu: 0.2}", "methods.uniform.blend_within_class={}"]
    context = Context(load_recipe(RECIPES / "utd_mhad.yaml", overrides), tmp_path)
    student, tutors = context.recipe.student.training, training_of(context, "tutors")
    assert training_of(context, "karmma") == student
    assert (tutors.epochs, tutors.blend_within_class) == (15, {"imu": 0.5, "skeleton": 0.5})
    assert training_of(context, "uniform").blend_within_class == {} and training_of(context, "uniform").epochs == student.epochs
