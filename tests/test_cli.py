"""What a user can mend is one line and exit code 2; what nobody foresaw keeps its traceback."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from karmma import cli


def said_by(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What the program writes to stderr as it ends with exit code 2."""
    monkeypatch.setattr("sys.argv", ["karmma", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_paths_that_cannot_be_written_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    for words in (["run", "demo", "--out", file / "run"], ["simulate", file / "kitchen"], ["env", "--json", file / "env.json"]):
        said = said_by(monkeypatch, capsys, *words)
        assert said.startswith(f"karmma: {file}") and said.endswith(("Not a directory\n", "File exists\n")) and said.count("\n") == 1


def test_a_full_disk_is_named_and_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(code: int) -> None:
        raise OSError(code, os.strerror(code), "/data/clips.bin")

    monkeypatch.setattr(cli, "app", lambda: fail(errno.ENOSPC))
    assert said_by(monkeypatch, capsys) == "karmma: /data/clips.bin: No space left on device\n"
    monkeypatch.setattr(cli, "app", lambda: fail(errno.EBADF))
    with pytest.raises(OSError, match="Bad file descriptor"):
        cli.main()
