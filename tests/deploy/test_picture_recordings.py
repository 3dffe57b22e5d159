"""Recordings that are folders or tars of numbered pictures, as many data sets and robots keep them."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import karmma
from karmma.cli import app
from karmma.deploy.recordings import find_recordings
from karmma.deploy.windows import RecordingReader
from karmma.media.pictures import PictureSequence, pictures_at
from karmma.media.video import read_frames
from karmma.types import KarmmaError

from .test_recordings import IMU, VIDEO

HZ = 10.0


@pytest.fixture(scope="module")
def cut(kitchen_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures of a kitchen's film, numbered from 100."""
    folder = tmp_path_factory.mktemp("cut") / "walk"
    folder.mkdir()
    for number, picture in enumerate(read_frames(kitchen_root / VIDEO, [index / HZ for index in range(60)], 160, 120), 100):
        cv2.imwrite(str(folder / f"frame_{number:06d}.png"), picture[..., ::-1])
    return folder


def test_windows_of_pictures_are_read_as_segments_of_a_data_set_are(
    live_student: karmma.Recognizer, kitchen_root: Path, cut: Path
) -> None:
    sequence, sources = pictures_at(cut, HZ), {"imu": kitchen_root / IMU}
    assert sequence == PictureSequence(cut, HZ, first_number=100)
    reader = RecordingReader(live_student, sequence, sources, 2.0)
    assert reader.spans(2.0, 1.5) == [(0.0, 2.0), (1.5, 3.5), (3.0, 5.0), (4.5, 6.0)]
    film = live_student.read_window(kitchen_root / VIDEO, 1.5, 3.5, sources)
    alone, together = live_student.read_window(sequence, 1.5, 3.5, sources), reader.window(1.5, 3.5)
    assert set(alone.inputs) == set(together.inputs) == {"rgb", "flow", "imu"} and not together.unreadable
    for name, value in alone.inputs.items():
        assert np.array_equal(together.inputs[name], value), name
    assert np.array_equal(alone.inputs["imu"], film.inputs["imu"])
    assert np.abs(alone.inputs["rgb"] - film.inputs["rgb"]).mean() < 0.1 < np.abs(alone.inputs["rgb"]).mean()


def test_a_second_look_goes_to_its_own_file(live_student: karmma.Recognizer, kitchen_root: Path, cut: Path) -> None:
    """What `sources` say goes before the film, in windows as in one segment, and needs no film at all."""
    expected = live_student.read_window(pictures_at(cut, HZ), 1.0, 3.0, {})
    for file in (None, kitchen_root / VIDEO):
        sources = {"rgb": pictures_at(cut, HZ)}
        reader = RecordingReader(live_student, file, sources, 2.0)
        found = [reader.window(1.0, 3.0), live_student.read_window(file, 1.0, 3.0, sources)]
        assert all(np.array_equal(window.inputs["rgb"], expected.inputs["rgb"]) for window in found)
    whole = live_student.predict({"rgb": pictures_at(cut, HZ)})
    assert (whole.modalities, whole.start_seconds, whole.stop_seconds) == (("rgb",), 0.0, 6.0)
    reader = RecordingReader(live_student, None, {"rgb": kitchen_root / VIDEO}, 2.0)
    beside = live_student.read_window(kitchen_root / VIDEO, 1.0, 3.0, {})
    assert np.array_equal(reader.window(1.0, 3.0).inputs["rgb"], beside.inputs["rgb"])


def test_folders_and_tars_of_pictures_are_found_and_predicted(
    student_path: Path, kitchen_root: Path, cut: Path, tmp_path: Path
) -> None:
    with tarfile.open(cut.parent / "run.tar", "w") as archive:
        archive.add(cut, "frames")
    (cut.parent / "notes").mkdir(exist_ok=True)
    (tmp_path / "walk_imu.csv").write_text((kitchen_root / IMU).read_text())
    names = [(recording.name, sorted(recording.sources)) for recording in find_recordings([cut.parent], {"imu": tmp_path}, HZ)]
    assert names == [(str(cut.parent / "run.tar"), []), (str(cut), ["imu"])]
    plots = ["--imu", str(tmp_path), "--timeline", str(tmp_path / "plots")]
    base = ["predict", str(student_path), str(cut.parent), "--pictures-hz", "10", "--json", "--window", "3"]
    done = CliRunner().invoke(app, [*base, *plots])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0 and [row["start_seconds"] for row in rows] == [0.0, 3.0, 0.0, 3.0]
    assert [row["modalities"] for row in rows] == [["rgb"], ["rgb"], ["rgb", "imu"], ["rgb", "imu"]]
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"run.png", "walk.png"}
    for options, words in ((["--overlay", str(tmp_path)], "no film to write answers on"), (["--pictures-hz", "0"], "above 0")):
        refused = CliRunner().invoke(app, [*base, *options])
        assert refused.exit_code and words in str(refused.exception or refused.stderr), words


def test_depth_may_be_pictures_with_or_without_those_of_a_camera(body_student: karmma.Recognizer, cut: Path, tmp_path: Path) -> None:
    for folder in ("walk_depth", "run.2", "run.3"):
        (tmp_path / folder).mkdir()
        for number in range(30):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), np.full((24, 32), 500 + 50 * number, np.uint16))
    depth = pictures_at(tmp_path / "walk_depth", HZ)
    assert find_recordings([cut], {"depth": tmp_path / "walk_depth"}, HZ)[0].sources == {"depth": depth}
    assert find_recordings([cut], {"depth": tmp_path}, HZ)[0].sources == {"depth": depth}
    (alone,) = find_recordings([], {"depth": tmp_path / "walk_depth"}, HZ)
    assert alone.name == "walk_depth"
    assert [each.name for each in find_recordings([], {"depth": tmp_path}, HZ)] == ["run.2", "run.3", "walk"]
    windows = list(body_student.predict_file(None, alone.sources, window_seconds=1.0))
    assert [(window.stop_seconds, window.modalities) for window in windows] == [(stop, ("depth",)) for stop in (1.0, 2.0, 3.0)]
    stored = body_student.read_window(None, 1.0, 2.0, alone.sources).inputs["depth"]
    assert np.array_equal(stored, RecordingReader(body_student, None, alone.sources, 1.0).window(1.0, 2.0).inputs["depth"])


def test_a_missing_picture_is_named_and_the_other_windows_are_answered(
    live_student: karmma.Recognizer, kitchen_root: Path, cut: Path, tmp_path: Path
) -> None:
    for path in cut.iterdir():
        if path.stem != "frame_000141":
            (tmp_path / path.name).write_bytes(path.read_bytes() if path.stem != "frame_000121" else b"no picture")
    predictions = list(live_student.predict_file(
        pictures_at(tmp_path, HZ), {"imu": kitchen_root / IMU}, window_seconds=1.0, only=["rgb", "imu"]
    ))  # fmt: skip
    broken = [prediction.unreadable.get("rgb", "") for prediction in predictions]
    assert ["rgb" in prediction.modalities for prediction in predictions] == [not words for words in broken]
    said = {words.split(": ", 1)[1] for words in broken if words}
    assert said == {"picture 121 cannot be decoded", "picture 141 is missing"} and len(list(filter(None, broken))) == 2
    assert all("imu" in prediction.modalities for prediction in predictions)


def test_pictures_without_their_rate_or_none_at_all_are_refused(tmp_path: Path, cut: Path, clock_video: Path) -> None:
    with pytest.raises(KarmmaError, match="numbered pictures; how many were taken per second says --pictures-hz"):
        find_recordings([cut], {})
    with pytest.raises(KarmmaError, match="no numbered pictures of a camera in it, nor in folders or tars in it"):
        find_recordings([tmp_path], {}, HZ)
    (tmp_path / "both" / "depth").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "both" / "depth" / "1.png"), np.full((24, 32), 700, np.uint16))
    with pytest.raises(KarmmaError, match="16-bit grey pictures are depth; they go by --depth"):
        find_recordings([tmp_path / "both" / "depth"], {}, HZ)
    shutil.copytree(cut, tmp_path / "both" / "colour")  # beside it the depth is no recording of its own
    assert [recording.path for recording in find_recordings([tmp_path / "both"], {}, HZ)] == [tmp_path / "both" / "colour"]
    with pytest.raises(KarmmaError, match="not a plain tar"):
        find_recordings([clock_video], {}, HZ)
