"""Ego4D: the anticipation benchmark's files, clips or whole videos, and the IMU on the video's clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from karmma.cli import app
from karmma.data.reading import read_segment
from karmma.datasets import DATASETS
from karmma.datasets.ego4d import Ego4dConfig, load_ego4d
from karmma.datasets.imu_tables import convert_ego4d_imu
from karmma.media.containers import MediaError
from karmma.media.tables import AXES, read_table
from karmma.media.write import VideoWriter
from karmma.modalities.imu import Imu
from karmma.modalities.rgb import Rgb
from karmma.types import KarmmaError

HEADER = "component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"
PARENT_SECONDS = 20.0  # after which the clip begins in its video


def entry(number: int, start: float, stop: float, **more: Any) -> dict[str, Any]:
    """One action of a clip, with the fields of the published files that are read and some that are not."""
    return {"clip_uid": "c-1", "video_uid": "v-1", "clip_id": 7, "action_idx": number, "action_clip_start_sec": start,
            "action_clip_end_sec": stop, "action_clip_start_frame": round(30 * start), "clip_parent_start_sec": PARENT_SECONDS,
            "clip_parent_end_sec": PARENT_SECONDS + 300, "interval_start_sec": PARENT_SECONDS, **more}  # fmt: skip


def write_annotations(root: Path, **changed: list[dict[str, Any]]) -> Path:
    labels = {"verb": "cut_(chop)", "verb_label": 1, "noun": "bread", "noun_label": 2}
    splits = {
        "train": [entry(0, 1.0, 3.0, **labels), entry(1, 2.5, 4.0, **labels), entry(2, -1.5, 6.5, **labels)],
        "val": [entry(5, 0.0, 8.0, **labels) | {"clip_uid": "c-2"}],
        "test_unannotated": [entry(0, 4.0, 5.0)],
    } | changed
    taxonomy = {"verbs": ["take", "cut_(chop)"], "nouns": ["pan", "knife", "bread"]}
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "annotations" / "fho_lta_taxonomy.json").write_text(json.dumps(taxonomy))
    for split, clips in splits.items():
        content = {"version": "2.0", "split": split, "clips": clips}
        (root / "annotations" / f"fho_lta_{split}.json").write_text(json.dumps(content))
    return root


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def turn(seconds: np.ndarray) -> np.ndarray:
    return np.sin(seconds)


def write_imu(path: Path, *, first: float = -1.0, stop: float = 60.0) -> Path:
    """200 Hz out of order in two halves, some moments twice, some without a moment or a number, one absurd."""
    seconds = np.arange(first, stop, 0.005)
    rows = [f"0,{1000 * s},{1000 * s},{np.sin(s)},0.1,0.2,0.5,9.7,0.3" for s in seconds]
    half = len(rows) // 2
    bad = ["0,5,,1,1,1,1,1,1", "0,5,NULL,1,1,1,1,1,1", "0,5,7,1,1,1,,,", "0,5,9e12,1,1,1,1,1,1"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *rows[half:], *rows[:half], rows[half], *bad]))
    return path


def test_clips_that_are_there_on_their_own_clock(tmp_path: Path) -> None:
    clip = touch(write_annotations(tmp_path) / "clips" / "c-1.mp4")
    manifest = load_ego4d(tmp_path, Ego4dConfig())
    assert manifest.labels.names == {"verb": ("take", "cut_(chop)"), "noun": ("pan", "knife", "bread")}
    assert manifest.provenance == {
        "clips": 1, "clips_missing": 1, "clips_by_modality": {"rgb": 1, "flow": 1, "audio": 1},
        "segments_without_recording": {"train": 0, "validation": 1, "test": 0},
    }  # fmt: skip
    first, second, early = manifest.split("train")
    assert (early.start_seconds, early.stop_seconds) == (0.0, 6.5)
    assert (first.name, second.name) == ("c-1_0", "c-1_1") and first.labels == {"verb": 1, "noun": 2}
    assert (second.start_seconds, second.stop_seconds) == (2.5, 4.0)
    assert second.sources == dict.fromkeys(("rgb", "flow", "audio"), clip)
    assert manifest.split("test")[0].labels == {} and not manifest.splits["validation"]
    with pytest.raises(KarmmaError, match=r"ego4d: split 'test' cannot be learnt from or tested on: c-1_0 has no verb or noun"):
        manifest.labelled_split("test")


def test_whole_videos_and_who_wore_the_camera(tmp_path: Path) -> None:
    root = write_annotations(tmp_path / "v2")
    video = touch(root / "full_scale" / "v-1.mp4")
    assert load_ego4d(root, Ego4dConfig()).split("validation")[0].participant == "v-1"
    people = {"videos": [{"video_uid": "v-1", "fb_participant_id": 31}, {"video_uid": "v-2", "fb_participant_id": None}]}
    (tmp_path / "ego4d.json").write_text(json.dumps(people))
    segment = load_ego4d(root, Ego4dConfig()).split("train")[0]
    assert (segment.start_seconds, segment.stop_seconds) == (21.0, 23.0) and segment.sources["rgb"] == video
    assert segment.participant == "31"
    smaller = touch(root / "video_540ss" / "v-1.mp4")
    assert load_ego4d(root, Ego4dConfig()).split("train")[0].sources["rgb"] == smaller


@pytest.mark.parametrize("film", ["clips/c-1.mp4", "video_540ss/v-1.mp4", None])
def test_the_imu_is_that_of_the_same_moments_whatever_film_there_is(tmp_path: Path, film: str | None) -> None:
    root = write_annotations(tmp_path)
    convert_ego4d_imu(write_imu(root / "imu" / "v-1.csv"), root / "imu_tables" / "v-1.csv")
    if film is not None:
        seconds = 8.0 if film.startswith("clips") else 30.0
        (root / film).parent.mkdir()
        with VideoWriter(root / film, 64, 48, 10.0) as writer:
            for index in range(round(seconds * 10)):
                writer.write_frame(np.full((48, 64, 3), index % 80 if film.startswith("clips") else index % 200, np.uint8))
    segment = load_ego4d(root, Ego4dConfig()).split("train")[0]
    names = {"imu": Imu(), "rgb": Rgb(frames=2, height=32, width=32)}
    reading = read_segment(segment, {name: names[name] for name in segment.sources if name in names})  # type: ignore[misc]
    assert not reading.failures and ("rgb" in reading.arrays) == (film is not None)
    window = 22.0 - 1.4 + np.arange(140) / 50  # of 2.4 s and what it may shift, round the middle of the action in its video
    np.testing.assert_allclose(reading.arrays["imu"][:, 3], turn(window), atol=0.01)


def test_a_table_of_theirs_is_sorted_and_what_is_no_sample_is_left_out(tmp_path: Path) -> None:
    table = convert_ego4d_imu(write_imu(tmp_path / "v-1.csv"), tmp_path / "out" / "v-1.csv")
    rows = read_table(tmp_path / "out" / "v-1.csv", AXES)
    assert table.rows == 12000 and table.left_out == 200 + 5
    assert (table.start_seconds, table.stop_seconds) == pytest.approx((0.0, 59.995))
    np.testing.assert_allclose(np.diff(rows["seconds"]), 0.005, atol=2e-4)
    np.testing.assert_allclose(rows["gyro_x"], turn(rows["seconds"]), atol=1e-4)
    assert (rows["accel_y"] == 9.7).all() and (rows["gyro_z"] == 0.2).all() and Imu().doubt(tmp_path / "out" / "v-1.csv") == ""


def test_tables_that_are_none_are_named_and_none_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text(f"{HEADER}\n0,1,NULL,1,1,1,1,1,1\n")
    with pytest.raises(MediaError, match=r"empty\.csv: none of 1 samples has both a moment and all six numbers"):
        convert_ego4d_imu(tmp_path / "empty.csv", tmp_path / "x.csv")
    (tmp_path / "words.csv").write_text(f"{HEADER}\n0,1,1,1,1,1,1,up,1\n")
    good = write_imu(tmp_path / "v-1.csv")
    before = good.read_bytes()
    run = ["convert", "ego4d-imu", str(tmp_path / "words.csv"), str(tmp_path / "none.csv"), str(good), "--out"]
    result = CliRunner().invoke(app, [*run, str(tmp_path / "out")])
    assert result.exit_code == 3 and "v-1: 12000 rows, 0.00 to 60.00 s, 205 left out" in result.output
    assert "words.csv: line 2: column 'accl_y': could not convert" in result.output and "none.csv" in result.output
    result = CliRunner().invoke(app, [*run, str(tmp_path)])
    assert result.exit_code == 3 and "v-1.csv: would be written over; choose another --out" in result.output
    assert good.read_bytes() == before


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"verb_label": 2}, r"fho_lta_train\.json: entry 0: verb_label 2 is not a whole number from 0 to 1"),
        ({"noun_label": None}, "entry 0: noun_label None is not a whole number from 0 to 2"),
        ({"action_idx": -1}, "entry 0: action_idx -1 is not a whole number"),
        ({"action_clip_start_sec": "1"}, "entry 0: action_clip_start_sec '1' is no number of seconds"),
        ({"action_clip_end_sec": 0.5}, r"action_clip_end_sec 0\.5 does not lie after action_clip_start_sec 1"),
        ({"clip_parent_start_sec": float("inf")}, "clip_parent_start_sec inf is no number of seconds"),
        ({"clip_uid": 3}, "entry 0: expected an object with clip_uid and video_uid"),
    ],
)
def test_bad_entries_are_named(tmp_path: Path, bad: dict[str, Any], words: str) -> None:
    touch(tmp_path / "clips" / "c-1.mp4")
    write_annotations(tmp_path, train=[entry(0, 1.0, 3.0, verb_label=0, noun_label=0) | bad])
    with pytest.raises(KarmmaError, match=words):
        load_ego4d(tmp_path, Ego4dConfig())


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match=r"none of 2 clips is there; looked for e\.g\. clips/\{clip\}\.mp4"):
        load_ego4d(write_annotations(tmp_path), Ego4dConfig())
    touch(tmp_path / "clips" / "c-1.mp4")
    for name, content, words in (
        ("ego4d.json", {"videos": {}}, r"ego4d\.json: videos: expected a list"),
        ("annotations/fho_lta_val.json", {"clips": {}}, r"fho_lta_val\.json: clips: expected a list"),
        ("annotations/fho_lta_taxonomy.json", {"verbs": ["a"], "nouns": [1]}, r"taxonomy\.json: nouns: expected a list of names"),
    ):
        (tmp_path / name).write_text(json.dumps(content))
        with pytest.raises(KarmmaError, match=words):
            DATASETS["ego4d"].load(tmp_path, Ego4dConfig())
