"""The documentation as pages: built without a warning, complete, and nothing in it is fetched from elsewhere."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from karmma import config
from karmma.cli import app
from karmma.datasets import DATASETS
from karmma.modalities import MODALITIES

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)]
    built = subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "not included in the" not in built.stderr, built.stderr
    return directory


def test_every_page_is_there(site: Path) -> None:
    for page in (*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        assert (site / page.relative_to(ROOT).with_suffix(".html")).exists(), page
    assert "make demo" in (site / "index.html").read_text()
    assert (site / "benchmarks/results/kitchen/plots/sweep.png").exists()


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(r'<(?:script|img|iframe)[^>]* src="(https?:[^"]*)"|<link[^>]* href="(https?:[^"]*)"', page.read_text())
        assert not fetched, page


def test_references_are_complete(site: Path) -> None:
    commands = (site / "reference/commands.html").read_text()
    for name in getattr(get_command(app), "commands"):  # noqa: B009 - typer does not say that this is a group
        assert f'id="karmma-{name}"' in commands, name
    recipes = (site / "reference/recipes.html").read_text()
    for kind in (value for value in vars(config).values() if dataclasses.is_dataclass(value)):
        assert all(f"<code>{field.name}</code>" in recipes for field in dataclasses.fields(kind)), kind
    assert all(f'id="{name}"' in recipes for name in (*MODALITIES, *DATASETS))
    assert "learned tokens (paper), one over and over, what others tell of it, nothing (beside or in a sum), zeros" in recipes
    assert 'id="karmma.deploy.predict.Recognizer.load"' in (site / "reference/python.html").read_text()
