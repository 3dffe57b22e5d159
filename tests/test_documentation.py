"""What the documentation shows in Python works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from karmma.config import load_recipe
from karmma.datasets.kitchen.manifest import load_kitchen

from .deploy.conftest import SETTINGS, save_student

DOCS = Path(__file__).resolve().parents[1] / "docs"


def blocks_of(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.S | re.M)


def test_the_python_page_runs_from_top_to_bottom(
    kitchen_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_student(Path("student"), SETTINGS, load_kitchen(kitchen_root).labels)
    Path("kitchen.mp4").symlink_to(kitchen_root / "videos/P02/P02_01.MP4")
    Path("imu.csv").symlink_to(kitchen_root / "imu/P02/P02_01.csv")
    Path("kitchen").symlink_to(kitchen_root)
    *run, train = blocks_of("python.md")
    assert len(run) == 5
    names: dict[str, Any] = {}
    for block in run:
        exec(compile(block, "docs/python.md", "exec"), names)
    said = capsys.readouterr().out
    assert "('rgb', 'audio', 'imu')" in said and "rgb+audio+imu" in said and "('video', 'audio', 'imu')" in said
    assert "{'video': 'present', 'audio': 'absent', 'imu': 'present'} ('rgb', 'imu')" in said and "action_top1" in said
    imports = [line for line in train.splitlines() if line.startswith("from ")]
    exec("\n".join(imports), names)
    overrides = re.search(r"load_recipe\(Path\(\"demo\"\), (\[.*?\])\)", train)
    assert overrides and load_recipe(Path("demo"), eval(overrides[1])).only(["karmma", "baseline_dropout"]).seeds == (0, 1, 2)
