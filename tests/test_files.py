"""A file is whole or not there; what is broken is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from karmma.files import alone_in, read_csv, read_json, replacing, rows_of, write_json
from karmma.types import KarmmaError


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == '{\n "a": 1\n}'
    write_json(path, [2])
    assert path.read_text() == "[\n 2\n]" and temporary.suffix == ".json"


HOLDER = """
import sys, time
from pathlib import Path
from karmma.files import alone_in
with alone_in(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_two_runs_do_not_write_into_one_directory_and_a_killed_one_leaves_it_free(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(out)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "in\n"
        with pytest.raises(KarmmaError, match=rf"out: another run is at work here \(process {other.pid} on .+\); wait"), alone_in(out):
            pass
        other.kill()
    with alone_in(out), pytest.raises(KarmmaError, match=f"process {os.getpid()}"), alone_in(out):
        pass
    with alone_in(out):
        pass


HOSTILE = {
    "random bytes": bytes(range(256)) * 8,
    "another encoding": "seconds,label\n0.1,café\n".encode("latin-1"),
    "utf-16": "seconds,label\n0.1,a\n".encode("utf-16"),
    "a cell without end": b"seconds,label\n0.1," + b"9" * 200_000 + b"\n",
    "an open quote": b'seconds,label\n0.1,"a\n0.2,b\n',
    "a ragged row": b"seconds,label\n0.1\n",
    "a column twice": b"seconds,label,label\n0.1,a,b\n",
    "nothing": b"",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_csv_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(KarmmaError, match=r"table\.csv: "):
        read_csv(path, ("seconds",))


def test_csv_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """A byte order mark, Windows' line ends, empty lines, spaces around cells."""
    path = tmp_path / "table.csv"
    path.write_bytes("\ufeffseconds, label\r\n0.1, a \r\n\r\n0.2,\"b\"\r\n\r\n".encode())
    table = read_csv(path, ("seconds",))
    assert (table.header, table.lines, table.rows) == (("seconds", "label"), (2, 4), (["0.1", "a"], ["0.2", "b"]))
    assert list(rows_of(path, ())) == [(2, {"seconds": "0.1", "label": "a"}), (4, {"seconds": "0.2", "label": "b"})]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"{", b"[1]", b"[" * 100_000], ids=["bytes", "cut off", "a list", "nested"])
def test_what_is_no_json_object_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(content)
    with pytest.raises(KarmmaError, match=r"note\.json: "):
        read_json(path)
    with pytest.raises(KarmmaError, match="No such file"):
        read_json(tmp_path / "none.json")
