"""The scripts that measure: they load, they are told of, and what they train is still what the recipe can train."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from karmma.config import load_recipe

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SHARED = ("folds.py", "footage.py", "recording.py")  # what scripts share, nothing to run
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("*.py") if path.name not in SHARED)


def test_every_script_loads() -> None:
    """All in one process: a script that imports what has been renamed is broken for whoever wants to repeat its result."""
    names = [script.removesuffix(".py") for script in SCRIPTS]
    loaded = subprocess.run(
        [sys.executable, "-c", f"import importlib\nfor name in {names!r}: importlib.import_module(name)"],
        cwd=BENCHMARKS, capture_output=True, text=True,
    )  # fmt: skip
    assert loaded.returncode == 0, loaded.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_told_of(script: str) -> None:
    assert f"`{script}" in (BENCHMARKS / "README.md").read_text()


def test_the_ablation_switches_the_recipe_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every arm it compares is tested, and each switch changes something."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from ablation_utd import METHODS, RECIPES, REFERENCE, recipe_of

    recipe = recipe_of(Path("data"), 1, [0], [], None)
    assert all(method.tested for method in recipe.methods.values())
    default = recipe.methods[REFERENCE]
    assert default == load_recipe(BENCHMARKS.parent / "recipes" / "utd_mhad.yaml", []).methods[REFERENCE]
    assert [name for name in METHODS if recipe.methods[name] == default] == []
    for changes, arms, _ in RECIPES.values():
        changed = recipe_of(Path("data"), 1, [0], changes, arms)
        assert {*arms} <= {*changed.methods}
        assert changed != recipe.only(arms)


def test_the_ablation_trains_the_arms_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from ablation_utd import METHODS, RECIPES, chosen

    everything, recipes = chosen(None, [0])
    assert everything is None and recipes == list(RECIPES) and chosen(None, []) == (None, [])
    methods, recipes = chosen("temperature 1,unaligned: one modality per trial", [0])
    assert methods is not None and recipes == ["unaligned: one modality per trial"]
    assert methods[:2] == ["karmma", "temperature 1"] and {"no distillation", "alpha by trust"} <= {*methods} <= {"karmma", *METHODS}
    with pytest.raises(SystemExit, match="unknown.*'tau'"):
        chosen("tau", [0])
