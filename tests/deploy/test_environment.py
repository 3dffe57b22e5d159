"""`karmma env`: what is there is tried, what is missing has a remedy, what is broken speaks for itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from karmma.cli import app
from karmma.deploy import environment as told
from karmma.media import codecs

from ..test_without_torch import run_without_torch


def test_everything_that_the_project_reads_and_writes_works_here(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["env", "--json", str(tmp_path / "env.json")])
    facts = json.loads((tmp_path / "env.json").read_text())
    assert done.exit_code == 0, done.output
    assert set(facts["media"]["read"].values()) == {"ok"} == set(facts["media"]["written"].values())
    assert facts["engines"]["torch"]["version"] == facts["extras"]["train"]["torch"]
    assert "numpy" in facts["extras"][""]
    assert "read         h264, hevc, av1" in done.output and facts["machine"]["processor"] in done.output


def test_a_robot_without_torch_is_told_what_to_install() -> None:
    said = run_without_torch("from karmma.deploy.environment import *\nprint(*lines_of(environment()), sep='\\n')")
    assert "torch        missing pip install 'karmma[train]'" in said


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an engine's package, to be filled."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(told, "ENGINES", {"some_engine": ("pip install some-engine", lambda module: {"devices": module.DEVICES})})
    monkeypatch.setattr(told, "package_version", lambda name: "1.2")
    return tmp_path / "some_engine.py"


@pytest.mark.parametrize(
    ("program", "expected", "broken"),
    [
        (None, {"missing": "pip install some-engine"}, False),
        ("DEVICES = ['CPU', 'NPU']", {"version": "1.2", "devices": ["CPU", "NPU"]}, False),
        ("__version__, DEVICES = '9', []", {"version": "9", "devices": []}, False),
        ("raise OSError('libfoo.so.3: no\\nsuch file')", {"broken": "libfoo.so.3: no such file"}, True),
        ("import not_there_either", {"broken": "No module named 'not_there_either'"}, True),
        ("raise RuntimeError", {"broken": "RuntimeError"}, True),
    ],
)
def test_an_engine_works_or_is_missing_or_says_why_not(
    engine: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, expected: dict[str, Any], broken: bool
) -> None:
    monkeypatch.delitem(sys.modules, "some_engine", raising=False)
    if program is not None:
        engine.write_text(program)
    facts = told.environment()
    assert facts["engines"] == {"some_engine": expected}
    assert told.is_broken(facts) is broken
    text = "\n".join(told.lines_of(facts))
    assert all(word in text for word in str(next(iter(expected.values()))).split())


def test_a_decoder_that_fails_speaks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = codecs.encode_moment
    monkeypatch.setattr(codecs, "encode_moment", lambda codec: b"no media" if codec == "hevc" else encode(codec))
    monkeypatch.setattr(codecs, "AUDIO", ("nonsense", "aac", "flac"))
    facts = told.environment()
    assert facts["media"]["read"]["nonsense"] == "missing" and facts["media"]["read"]["flac"] == "ok"
    assert "Invalid data" in facts["media"]["read"]["hevc"]
    assert told.is_broken(facts)
    lines = told.lines_of(facts)
    assert any(line.startswith("read") and "h264" in line and "missing nonsense" in line and "hevc" not in line for line in lines)
    assert any(line.strip().startswith("hevc: ") and "Invalid data" in line for line in lines)
