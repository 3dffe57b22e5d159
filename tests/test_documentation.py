"""What the documentation shows in Python works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from karmma.config import load_recipe
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.deploy.export import export_student

from .deploy.conftest import SETTINGS, save_student
from .test_without_torch import run_without_torch

DOCS = Path(__file__).resolve().parents[1] / "docs"


def blocks_of(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.S | re.M)


@pytest.fixture
def here(kitchen_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the files that the page names."""
    monkeypatch.chdir(tmp_path)
    save_student(Path("student"), SETTINGS, load_kitchen(kitchen_root).labels)
    Path("kitchen.mp4").symlink_to(kitchen_root / "videos/P02/P02_01.MP4")
    Path("imu.csv").symlink_to(kitchen_root / "imu/P02/P02_01.csv")
    Path("kitchen").symlink_to(kitchen_root)
    return tmp_path


LIVE = "{'video': 'present', 'audio': 'absent', 'imu': 'present'} ('rgb', 'imu')"


def test_the_python_page_runs_from_top_to_bottom(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *run, train = blocks_of("python.md")
    assert len(run) == 5
    names: dict[str, Any] = {}
    for block in run:
        exec(compile(block, "docs/python.md", "exec"), names)
    said = capsys.readouterr().out
    assert "('rgb', 'audio', 'imu')" in said and "rgb+audio+imu" in said and "('video', 'audio', 'imu')" in said
    assert LIVE in said and "action_top1" in said
    imports = [line for line in train.splitlines() if line.startswith("from ")]
    exec("\n".join(imports), names)
    overrides = re.search(r"load_recipe\(Path\(\"demo\"\), (\[.*?\])\)", train)
    assert overrides and load_recipe(Path("demo"), eval(overrides[1])).only(["karmma", "baseline_dropout"]).seeds == (0, 1, 2)


def test_an_exported_student_runs_its_first_three_sections_without_torch(here: Path) -> None:
    pytest.importorskip("onnxruntime", reason="running exported students needs an engine")
    export_student(Path("student"), Path("exported"))
    program = "\n".join(blocks_of("python.md")[:3])
    loading = 'karmma.load("student")'
    assert program.count(loading) == 1
    program = program.replace(loading, 'load_any(Path("exported"))')
    said = run_without_torch(f"from pathlib import Path\nfrom karmma.deploy.runtime import load_any\n{program}")
    assert LIVE in said and "rgb+audio+imu" in said
