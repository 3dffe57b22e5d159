"""A file is whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from karmma.files import replacing, write_json


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == '{\n "a": 1\n}'
    write_json(path, [2])
    assert path.read_text() == "[\n 2\n]" and temporary.suffix == ".json"
