"""EPIC's CSV columns: read unchanged, every complaint with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karmma.datasets.annotations import parse_timestamp, read_actions, read_classes
from karmma.datasets.kitchen.generate import ANNOTATION_COLUMNS, timestamp
from karmma.types import KarmmaError

EPIC = Path(__file__).resolve().parents[3] / "shared" / "data" / "epic100"
GOOD = "P01_01_0,P01,P01_01,00:00:01.00,00:00:01.00,00:00:02.50,13,31,take cup,take,0,cup,0,['cup'],[0]"


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([",".join(ANNOTATION_COLUMNS), *rows]) + "\n")
    return path


def test_a_row_becomes_seconds_and_classes(tmp_path: Path) -> None:
    action = read_actions(write(tmp_path / "a.csv", GOOD), 3, 4)[0]
    assert (action.start_seconds, action.stop_seconds, action.verb_class, action.noun_class) == (1.0, 2.5, 0, 0)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (GOOD.replace("00:00:02.50", "00:00:00.50"), "line 3: stop 00:00:00.50 does not lie after start 00:00:01.00"),
        (GOOD.replace("00:00:02.50", "00:00:01.00"), "line 3: stop"),
        (GOOD.replace("00:00:02.50", "two"), "line 3: stop_timestamp 'two' is not HH:MM:SS.sss"),
        (GOOD.replace("00:00:02.50", "00:00:nan"), "is not HH:MM:SS.sss"),
        (GOOD.replace("take,0", "take,3"), "line 3: verb_class '3' is not a class number below 3"),
        (GOOD.replace("cup,0", "cup,-1"), "line 3: noun_class '-1'"),
        ("P01_01_0,P01", "line 3: 2 values for 15 columns"),
    ],
)
def test_bad_rows_are_named(row: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(KarmmaError) as caught:
        read_actions(write(tmp_path / "a.csv", GOOD, row), 3, 4)
    assert words in str(caught.value) and "a.csv" in str(caught.value)


def test_missing_files_and_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match="No such file"):
        read_actions(tmp_path / "none.csv", 3, 4)
    (tmp_path / "b.csv").write_text("narration_id,verb\nx,take\n")
    with pytest.raises(KarmmaError, match="no column 'participant_id'"):
        read_actions(tmp_path / "b.csv", 3, 4)
    (tmp_path / "classes.csv").write_text("id,key\n0,take\n2,put\n")
    with pytest.raises(KarmmaError, match="line 3: id '2', expected 1"):
        read_classes(tmp_path / "classes.csv")


@given(st.floats(0, 35_999, allow_nan=False))
def test_timestamps_survive_writing_and_reading(seconds: float) -> None:
    seconds = round(seconds, 2)
    if seconds % 60 < 59.995:
        assert parse_timestamp(timestamp(seconds)) == pytest.approx(seconds, abs=0.0051)


@pytest.mark.skipif(not EPIC.is_dir(), reason="EPIC-100's annotations are not beside the checkout")
def test_the_official_validation_file_is_read_unchanged() -> None:
    verbs, nouns = (read_classes(EPIC / f"EPIC_100_{kind}_classes.csv") for kind in ("verb", "noun"))
    actions = read_actions(EPIC / "EPIC_100_validation.csv", len(verbs), len(nouns))
    assert (len(verbs), len(nouns), len(actions)) == (97, 300, 9668)
    assert verbs[actions[0].verb_class] == "take" and nouns[actions[0].noun_class] == "plate"
