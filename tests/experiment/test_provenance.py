"""Where figures come from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from karmma.experiment import provenance


def test_a_commit_is_marked_where_anything_of_the_package_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "karmma"
    for room in ("experiment", "media"):
        (package / room).mkdir(parents=True)
        (package / room / "file.py").write_text("before = 1\n")
    monkeypatch.setattr(provenance, "__file__", str(package / "experiment" / "provenance.py"))
    assert provenance.git_commit() is None
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    commit = provenance.git_commit()
    assert commit is not None and len(commit) == 40
    (tmp_path / "notes.txt").write_text("beside the package")
    assert provenance.git_commit() == commit
    (package / "media" / "file.py").write_text("after = 2\n")
    assert provenance.git_commit() == f"{commit}+"
