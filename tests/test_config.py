"""Recipes: strict, with errors that help."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from karmma.config import load_recipe, plain
from karmma.types import KarmmaError

RECIPES = sorted((Path(__file__).resolve().parents[1] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_shipped_recipes_are_valid_short_and_open_with_their_command(path: Path) -> None:
    recipe = load_recipe(path)
    lines = path.read_text().splitlines()
    assert lines[0].startswith(f"# karmma run recipes/{path.name} --out ")
    assert len(lines) < 60
    for name, teacher in recipe.teacher.recognizer.encoders.items():
        student = recipe.student.recognizer.encoders[name]
        assert student.kind != teacher.kind or student.width <= teacher.width


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("student.training.epoch=3", "unknown key student.training.epoch; did you mean student.training.epochs?"),
        ("methods.karmma.distillation.alfa=0.5", "did you mean methods.karmma.distillation.alpha?"),
        ("teachr.dropout=0.5", "unknown key teachr; did you mean teacher?"),
        ("student.training.epochs=many", "student.training.epochs: Input should be a valid integer"),
        ("student.training.epochs", "not of the form key.path=value"),
        ("student.training.lr={a", "override 'student.training.lr={a': the value is not YAML"),
        ("name.first=x", "'name' holds a value, not keys"),
        ("seeds=[]", "seeds is empty"),
        ("modalities.depth={}", "no encoder for modality 'depth'"),
        ("teacher.recognizer.kernels={}", "only students vote with random kernels"),
        ("student.recognizer.kernels={count: 0}", "student.recognizer.kernels.count"),
        ("methods.baseline.draws=2", "methods.baseline: draws: 2 draws are all alike without dropout"),
        ("methods.karmma.subsets=all", "methods.karmma.subsets"),
        ("student.recognizer.own_votes=false", "methods.karmma.own_weight needs student.recognizer.own_votes: true"),
    ],
)
def test_mistakes_are_named_in_one_line(override: str, words: str) -> None:
    with pytest.raises(KarmmaError) as caught:
        load_recipe(RECIPES[0], [override])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overrides_change_exactly_what_they_name() -> None:
    before, after = load_recipe(RECIPES[0]), load_recipe(RECIPES[0], ["student.training.epochs=7", "seeds=[1,2]"])
    assert after.student.training.epochs == 7 and after.seeds == (1, 2)
    assert after.teacher == before.teacher


def test_a_recipe_survives_yaml(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES[0])
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(plain(recipe)))
    assert load_recipe(path) == recipe


def test_missing_and_malformed_files_are_clear(tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match="recipe not found"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(KarmmaError, match="mapping"):
        load_recipe(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1,\n")
    with pytest.raises(KarmmaError, match="not YAML"):
        load_recipe(tmp_path / "bad.yaml")
