"""Recipes: strict, with errors that help."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from karmma.cli import app
from karmma.config import load_chosen, load_recipe, shipped_recipes
from karmma.trees import plain
from karmma.types import KarmmaError

RECIPES = sorted((Path(__file__).resolve().parents[1] / "recipes").glob("*.yaml"))
WEIGHED = "teacher.subsets=uniform, teacher.subset_weights"
TAUGHT = "methods.karmma.distillation"
SEVEN = "methods.seven={specialists: true}, methods.taught={dropout: 0.3,distillation: {teachers: [seven],specialist_weights: loss}}"
CACHED = "methods.karmma.distillation.teacher_input=cached"


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
        ("methods.karmma.subset_weights={audio: 2}", "methods.karmma.subset_weights needs methods.karmma.subsets: uniform"),
        (f"{WEIGHED}={{adio: 2}}", "teacher.subset_weights: adio: allowed are others and subsets of rgb+"),
        (f"{WEIGHED}={{audio+rgb: 2,rgb+audio: 1}}", "teacher.subset_weights: rgb+audio: the same subset is there twice"),
        (f"{WEIGHED}={{others: 0,rgb: 1}}", "would never be drawn, and so never learnt"),
        (f"{WEIGHED}={{audio: -1}}", "teacher.subset_weights.audio: Input should be greater than or equal to 0"),
        ("student.recognizer.heads=5", "student.recognizer: dim: 128 cannot be shared evenly by 5 heads"),
        ("student.training.lr=0", "student.training.lr: Input should be greater than 0, not 0"),
        ("methods.karmma.dropout=30", "methods.karmma.dropout: Input should be less than or equal to 1, not 30"),
        ("seeds=[3,1,3]", "seeds: one is there twice in [3, 1, 3]"),
        (f"{CACHED}, teacher.token_views=1", "cached needs teacher.token_views of 2 or more"),
        (f"{CACHED}, student.training.mirror=0.1", "cached needs student.training.mirror as teacher.training.mirror is: 0.5"),
        ("methods.karmma.rebuild_weight=1", "rebuild_weight needs absent: rebuilt, and no specialists"),
        ("methods.karmma.share_weight=1", "share_weight needs absent: shared, and no specialists"),
        (f"{TAUGHT}.specialist_weights=loss", "karmma.distillation.specialist_weights: loss weighs specialists that teach together"),
        (f"{TAUGHT}.smaller_specialists=true", "smaller_specialists needs a method with specialists among"),
        (SEVEN, "taught.distillation.specialist_weights: loss weighs specialists that teach together; it needs a method with"),
        ("student.recognizer.own_votes=false", "methods.karmma.own_weight needs student.recognizer.own_votes: true"),
    ],
)
def test_mistakes_are_named_in_one_line(override: str, words: str) -> None:
    with pytest.raises(KarmmaError) as caught:
        load_recipe(RECIPES[0], override.split(", "))
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
    with pytest.raises(KarmmaError, match=r"recipe not found: .*none.yaml; shipped ones, by name: demo, "):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(KarmmaError, match="mapping"):
        load_recipe(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1,\n")
    with pytest.raises(KarmmaError, match="not YAML"):
        load_recipe(tmp_path / "bad.yaml")


def test_shipped_recipes_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [path.name for path in shipped_recipes().values()] == [path.name for path in RECIPES]
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("kitchen")) == load_recipe(RECIPES[[path.stem for path in RECIPES].index("kitchen")])
    Path("kitchen").write_text(Path(RECIPES[0]).read_text())  # a file of one's own comes first
    assert load_recipe(Path("kitchen")) == load_recipe(RECIPES[0])


def test_the_command_line_lists_and_prints_shipped_recipes() -> None:
    listed = CliRunner().invoke(app, ["recipes"]).output.splitlines()
    assert len(listed) == len(RECIPES) and all(f"karmma run {line.split()[0]} --out " in line for line in listed)
    assert CliRunner().invoke(app, ["recipes", "demo"]).output == RECIPES[0].read_text()


def test_the_wheel_has_recipes_pages_and_cards(tmp_path: Path) -> None:
    source = RECIPES[0].parents[1]
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(source / name, tmp_path / name)
    shutil.copytree(source / "src" / "karmma", tmp_path / "src" / "karmma", ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools.build_meta import build_wheel; build_wheel('made')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    (wheel,) = (tmp_path / "made").glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {f"karmma/recipes/{path.name}" for path in RECIPES} <= packed
    others = {"evaluation/report.html", "evaluation/card.md", "deploy/service/page.html", "py.typed"}
    assert {f"karmma/{name}" for name in others} <= packed
    modules = {str(path.relative_to(source / "src")) for path in (source / "src" / "karmma").rglob("*.py")}
    assert modules <= packed


def test_only_what_is_made_has_to_go_together_with_the_overrides() -> None:
    demo, silent = Path("demo"), ["student.recognizer.own_votes=false"]
    for names in ([], ["all"], ["karmma"], ["baseline", "karmma"]):
        with pytest.raises(KarmmaError, match=r"methods\.karmma\.own_weight needs student\.recognizer\.own_votes: true"):
            load_chosen(demo, silent, names)
    chosen = load_chosen(demo, silent, ["baseline", "baseline_dropout"])
    assert list(chosen.methods) == ["baseline", "baseline_dropout"] and not chosen.train_teacher
    for wrong, words in (
        ("methods.karmma.dropuot=1", r"unknown key methods\.karmma\.dropuot; did you mean methods\.karmma\.dropout\?"),
        ("methods.karmma.dropout=2", r"methods\.karmma\.dropout: Input should be less than or equal to 1, not 2"),
        ("methods=3", "methods: Input should be a valid dictionary"),
        ("default_methods=karmma", "default_methods: Input should be a valid tuple"),
    ):
        with pytest.raises(KarmmaError, match=words):
            load_chosen(demo, [wrong], ["baseline"])
    with pytest.raises(KarmmaError, match="unknown method 'sonar'; the recipe has: all, teacher, baseline, "):
        load_chosen(demo, None, ["sonar"])
    for names in ([], ["all"], ["karmma"], ["teacher"]):
        assert load_chosen(Path("utd_mhad"), None, names) == load_recipe(Path("utd_mhad")).only(names or ["karmma"])
