"""Long recordings and directories of them: the same answers as segment by segment, in every form."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import karmma
from karmma.cli import app
from karmma.deploy.drawing import fitted, runs_of
from karmma.deploy.recordings import find_recordings
from karmma.deploy.windows import RecordingReader, window_starts
from karmma.media.probe import probe
from karmma.media.video import read_frames
from karmma.types import KarmmaError, Prediction, Ranked

VIDEO, IMU = "videos/P02/P02_01.MP4", "imu/P02/P02_01.csv"


def test_overlapping_windows_are_read_as_segments_are(live_student: karmma.Recognizer, kitchen_root: Path) -> None:
    sources = {"imu": kitchen_root / IMU, "detections": kitchen_root / "boxes/P02/P02_01.csv"}
    reader = RecordingReader(live_student, kitchen_root / VIDEO, sources, 2.0)
    for start in (0.0, 0.7, 1.4, 3.5):
        alone = live_student.read_window(kitchen_root / VIDEO, start, start + 2.0, sources)
        together = reader.window(start, start + 2.0)
        assert set(together.inputs) == set(alone.inputs) == set(live_student.modalities)
        for name, value in alone.inputs.items():
            assert np.array_equal(together.inputs[name], value), (name, start)


def test_an_imu_whose_clock_is_ahead_is_read_where_it_was_measured(
    live_student: karmma.Recognizer, kitchen_root: Path, tmp_path: Path
) -> None:
    with (kitchen_root / IMU).open() as file:
        header, *rows = list(csv.reader(file))
    ahead = tmp_path / "ahead.csv"
    ahead.write_text("\n".join([",".join(header), *(",".join([f"{float(row[0]) + 4.25:.3f}", *row[1:]]) for row in rows)]))
    shifted = live_student.with_clock_ahead("imu", 4.25)
    assert live_student.modalities_by_name["imu"].offset_seconds == 0.0  # type: ignore[attr-defined]
    truth = live_student.read_window(kitchen_root / VIDEO, 3.0, 5.0, {"imu": kitchen_root / IMU}).inputs["imu"]
    reader = RecordingReader(shifted, kitchen_root / VIDEO, {"imu": ahead}, 2.0)
    for window in (shifted.read_window(kitchen_root / VIDEO, 3.0, 5.0, {"imu": ahead}), reader.window(3.0, 5.0)):
        np.testing.assert_allclose(window.inputs["imu"], truth, atol=1e-3)
    refused = [("audio", 1.0, "only an imu's can"), ("imu", np.inf, "by a finite number"), ("sonar", 1.0, "unknown modality")]
    for name, seconds, words in refused:
        with pytest.raises(KarmmaError, match=words):
            live_student.with_clock_ahead(name, seconds)


def test_windows_cover_a_recording(student: karmma.Recognizer, clock_video: Path) -> None:
    assert window_starts(4.0, 2.0, 1.0) == [0.0, 1.0, 2.0] and window_starts(0.5, 2.0, 1.0) == [0.0]
    assert window_starts(10.0, 1.0, 0.1) == [pytest.approx(number / 10) for number in range(95)]
    for hop in (1e-9, 5e-324):
        with pytest.raises(KarmmaError, match="no more than 10,000,000 are cut"):
            window_starts(4.0, 2.0, hop)
    predictions = list(student.predict_file(clock_video, window_seconds=2.0, hop_seconds=0.5))
    assert [p.start_seconds for p in predictions] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert predictions[-1].stop_seconds == pytest.approx(4.0, abs=0.1)
    with pytest.raises(KarmmaError, match="window and hop must be longer"):
        list(student.predict_file(clock_video, hop_seconds=0.0))


def test_directories_csv_json_timeline_and_overlay(student_path: Path, kitchen_root: Path, tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    shutil.copyfile(kitchen_root / VIDEO, recordings / "one.mp4")
    (recordings / "two.mp4").write_bytes(b"no film")
    (tmp_path / "imu").mkdir()
    shutil.copyfile(kitchen_root / IMU, tmp_path / "imu" / "one.csv")
    base = ["predict", str(student_path), str(recordings), "--imu", str(tmp_path / "imu"), "--window", "4"]
    extras = ["--timeline", str(tmp_path / "plots"), "--overlay", str(tmp_path / "overlays")]
    done = CliRunner().invoke(app, [*base, "--csv", *extras])
    assert done.exit_code == 3 and "two.mp4" in done.stderr
    far = CliRunner().invoke(app, [*base, "--csv", "--imu-offset", "100"])
    assert "another clock?" in far.stderr and "imu" not in far.stdout
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["start_seconds"] for row in rows] == ["0.000", "4.000", "8.000"]
    assert rows[0]["modalities"] == "rgb+audio+imu" and float(rows[0]["action_1_probability"]) > 0
    done = CliRunner().invoke(app, [*base, "--json"])
    first = json.loads(done.stdout.splitlines()[0])
    assert first["file"].endswith("one.mp4") and len(first["action"]) == 3 and "unreadable" not in first
    (tmp_path / "imu" / "one.csv").write_text("seconds,accel_x\n0.1,1\n")
    done = CliRunner().invoke(app, [*base, "--json"])
    assert done.stderr.count("one.mp4: going on without imu: ") == 1 and "no column 'accel_y'" in done.stderr
    assert json.loads(done.stdout.splitlines()[2])["modalities"] == ["rgb", "audio"]
    assert (tmp_path / "plots" / "one.png").stat().st_size > 5000
    overlay, original = tmp_path / "overlays" / "one.mp4", probe(recordings / "one.mp4")
    made = probe(overlay)
    assert made.has_audio and made.duration_seconds == pytest.approx(original.duration_seconds, abs=0.3)
    written, plain = (read_frames(path, [5.0], 96, 72)[0].astype(int) for path in (overlay, recordings / "one.mp4"))
    assert np.abs(written[:20] - plain[:20]).mean() < 6 < np.abs(written[-20:] - plain[-20:]).mean()


def test_what_is_not_there_is_said(tmp_path: Path, clock_video: Path) -> None:
    with pytest.raises(KarmmaError, match="no such file or directory"):
        find_recordings([tmp_path / "nowhere"], {})
    with pytest.raises(KarmmaError, match="no media files"):
        find_recordings([tmp_path], {})
    assert find_recordings([clock_video], {"imu": tmp_path})[0].sources == {}


def test_names_of_classes_fit_their_place_on_the_timeline() -> None:
    name = "draw circle counter-clockwise"
    assert fitted(name, 400) == (name, {"fontsize": 9}) and fitted(name, 100)[0] == "draw circle\ncounter-clockwise"
    assert fitted(name, 40) == ("draw circle co…", {"fontsize": 7, "rotation": 90}) and fitted(name, 5) == ("", {})


def test_neighbouring_windows_with_one_answer_are_one_run() -> None:
    def answer(start: float, name: str, share: float) -> Prediction:
        return Prediction({"verb": (Ranked(name, share),)}, ("rgb",), start, start + 2.0)

    runs = runs_of([answer(0, "cut", 0.5), answer(1, "cut", 0.7), answer(2, "put", 0.9)], "verb")
    assert [(run[0], run[1], run[2]) for run in runs] == [(0, 2.5, "cut"), (2.5, 4.0, "put")]
    assert 0.5 < runs[0][3] < 0.7
