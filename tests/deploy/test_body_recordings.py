"""Recordings without a video: an IMU, skeletons, depth pictures, each in a file of its own."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from fastapi.testclient import TestClient
from typer.testing import CliRunner

import karmma
from karmma.cli import app
from karmma.deploy.recordings import find_recordings
from karmma.deploy.sensors import TableFile
from karmma.deploy.service.app import make_app
from karmma.deploy.service.uploads import ServiceLimits
from karmma.deploy.session import StreamConfig
from karmma.deploy.windows import RecordingReader
from karmma.media.kept import EVERY
from karmma.types import KarmmaError, Prediction

from .conftest import SETTINGS, save_student

SENSORS = ("imu", "skeleton", "depth")


def test_windows_of_files_with_clocks_are_read_as_segments_are(body_student: karmma.Recognizer, body_files: dict[str, Path]) -> None:
    reader = RecordingReader(body_student, None, body_files, 2.0)
    assert reader.start_seconds == 0.0 and reader.stop_seconds == pytest.approx(5.98)
    for start in (0.0, 0.7, 3.5):
        alone = body_student.read_window(None, start, start + 2.0, body_files)
        together = reader.window(start, start + 2.0)
        assert set(together.inputs) == set(alone.inputs) == set(SENSORS) and not together.unreadable
        for name, value in alone.inputs.items():
            assert np.array_equal(together.inputs[name], value), (name, start)
    moved = [reader.window(start, start + 2.0).inputs for start in (0.0, 2.0)]
    assert all(np.abs(moved[0][name] - moved[1][name]).max() > 1e-3 for name in SENSORS)


def test_in_python_files_by_modality_are_a_recording(body_student: karmma.Recognizer, body_files: dict[str, Path]) -> None:
    whole = body_student.predict({name: str(path) for name, path in body_files.items()})
    assert whole.modalities == SENSORS and whole.stop_seconds == pytest.approx(5.98)
    alone = body_student.predict({"imu": body_files["imu"]}, sources={"skeleton": body_files["skeleton"]}, only=["skeleton"])
    assert alone.modalities == ("skeleton",)
    windows = list(body_student.predict_file(None, body_files, window_seconds=2.0, hop_seconds=1.0))
    assert [window.start_seconds for window in windows] == [0.0, 1.0, 2.0, 3.0, 4.0]
    for wrong, words in (({}, "model input|none of"), ({"skelton": body_files["skeleton"]}, "did you mean skeleton"),
                         ({"imu": body_files["imu"].with_name("nowhere.csv")}, "nowhere.csv: no such file")):  # fmt: skip
        with pytest.raises(KarmmaError, match=words):
            body_student.predict(wrong)
    with pytest.raises(KarmmaError, match="needs a media file, or a file of some modality"):
        list(body_student.predict_file(None))


def test_trials_without_clocks_are_taken_whole(body_path: Path, body_student: karmma.Recognizer, tmp_path: Path) -> None:
    """As UTD-MHAD names and stores them."""
    random = np.random.default_rng(1)
    for folder, word, key, size in (("Skeleton", "skeleton", "d_skel", (20, 3, 40)), ("Inertial", "inertial", "d_iner", (120, 6))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ".a1_s1_t1_hidden.mat").write_bytes(b"")
        for trial in ("a1_s1_t1", "a1_s1_t2"):
            scipy.io.savemat(tmp_path / folder / f"{trial}_{word}.mat", {key: random.normal(size=size)})
    (tmp_path / "Inertial" / "a1_s1_t2_inertial.mat").write_bytes(b"broken")
    base = ["predict", str(body_path), "--skeleton", str(tmp_path / "Skeleton"), "--imu", str(tmp_path / "Inertial")]
    done = CliRunner().invoke(app, [*base, "--json"])
    assert done.exit_code == 0 and "a1_s1_t1 and 1 others: no file has a clock" in done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["file"], row["modalities"]) for row in rows] == [("a1_s1_t1", ["imu", "skeleton"]), ("a1_s1_t2", ["skeleton"])]
    assert "a1_s1_t2_inertial.mat" in rows[1]["unreadable"]["imu"]
    files = {"imu": tmp_path / "Inertial" / "a1_s1_t1_inertial.mat", "skeleton": tmp_path / "Skeleton" / "a1_s1_t1_skeleton.mat"}
    whole, told = body_student.predict(files), body_student.predict(files, stop_seconds=2.4)
    assert told.stop_seconds == 2.4 and whole.ranked == told.ranked
    assert {name: round(share, 4) for name, share in best(whole, "verb")} == rows[0]["verb"]
    done = CliRunner().invoke(app, [*base, "--stop", "2.4", "--json"])
    assert "no file has a clock" not in done.stderr and json.loads(done.stdout.splitlines()[0])["stop_seconds"] == 2.4


def best(prediction: Prediction, head: str) -> list[tuple[str, float]]:
    return [(entry.name, entry.probability) for entry in prediction.ranked[head][:3]]


def test_a_file_without_a_clock_is_not_stretched_over_each_window(
    body_student: karmma.Recognizer, body_files: dict[str, Path], tmp_path: Path
) -> None:
    scipy.io.savemat(tmp_path / "trial.mat", {"d_skel": np.random.default_rng(1).normal(size=(20, 3, 40))})
    sources = {"imu": body_files["imu"], "skeleton": tmp_path / "trial.mat"}
    windows = list(body_student.predict_file(None, sources))
    assert [window.modalities for window in windows] == [("imu",)] * 3
    assert "trial.mat: has no clock" in windows[0].unreadable["skeleton"]
    (whole,) = body_student.predict_file(None, sources, window_seconds=6.0)
    assert whole.modalities == ("imu", "skeleton")


def test_features_at_a_known_rate_have_a_clock(body_files: dict[str, Path], tmp_path: Path) -> None:
    np.save(tmp_path / "slow.npy", np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32))
    sources = {"imu": body_files["imu"], "slow_features": tmp_path / "slow.npy"}
    for rate_hz in (10.0, None):
        settings: dict[str, dict[str, Any]] = {"imu": {"seconds": 1.0}, "slow_features": {"width": 4, "tokens": 2, "rate_hz": rate_hz}}
        student = karmma.load(save_student(tmp_path / f"student{rate_hz}", settings))
        windows = list(student.predict_file(None, sources))
        assert ["slow_features" in window.unreadable for window in windows] == [rate_hz is None] * 3
        assert ["slow_features" in window.modalities for window in windows] == [rate_hz is not None] * 3


def test_directories_timeline_and_what_is_missing(body_path: Path, body_files: dict[str, Path], tmp_path: Path) -> None:
    for name, path in body_files.items():
        (tmp_path / name).mkdir()
        shutil.copyfile(path, tmp_path / name / path.name)
    shutil.copyfile(body_files["imu"], tmp_path / "imu" / "run.csv")
    flags = [word for name in SENSORS for word in (f"--{name}", str(tmp_path / name))]
    done = CliRunner().invoke(app, ["predict", str(body_path), *flags, "--csv", "--timeline", str(tmp_path / "plots")])
    assert done.exit_code == 0 and done.stderr == ""
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["file"], row["modalities"]) for row in rows] == [("run", "imu")] * 3 + [("walk", "imu+skeleton+depth")] * 3
    assert (tmp_path / "plots" / "walk.png").stat().st_size > 5000
    done = CliRunner().invoke(app, ["predict", str(body_path), *flags, "--overlay", str(tmp_path / "films")])
    assert isinstance(done.exception, KarmmaError) and "run has no film to write answers on" in str(done.exception) and not done.stdout
    (tmp_path / "empty").mkdir()
    with pytest.raises(KarmmaError, match=r"no files in the directories given \(skeleton: .npz, .mat\)"):
        find_recordings([], {"skeleton": tmp_path / "empty"})
    with pytest.raises(KarmmaError, match="no such file or directory"):
        find_recordings([], {"skeleton": tmp_path / "nowhere"})
    (recording,) = find_recordings([], dict.fromkeys(("imu", "skeleton"), tmp_path / "imu" / "walk_imu.csv"))
    assert recording.name == "walk"
    (recording,) = find_recordings([], {"imu": tmp_path / "imu" / "run.csv", "skeleton": tmp_path / "skeleton"})
    assert recording.name == "walk" and recording.sources["imu"] == tmp_path / "imu" / "run.csv"


@pytest.mark.parametrize(
    ("clip_seconds", "window_seconds"), [(3.0, 3.0), (1.3, 2.0), (500, 60.0), (None, 2.0), (float("nan"), 2.0), ("long", 2.0)]
)
def test_windows_are_as_long_as_training_clips_unless_told(
    body_files: dict[str, Path], tmp_path: Path, clip_seconds: Any, window_seconds: float
) -> None:
    path = save_student(tmp_path / "student", {"imu": {"seconds": 1.0}}, provenance={"clip_seconds": clip_seconds})
    student = karmma.load(path)
    assert student.window_seconds == window_seconds and student.stream([TableFile(body_files["imu"], "imu")]).session.config == (
        StreamConfig(window_seconds)
    )
    stop = min(window_seconds, 5.98)
    first = next(iter(student.predict_file(None, {"imu": body_files["imu"]})))
    assert (first.start_seconds, round(first.stop_seconds, 2)) == (0.0, stop)
    done = CliRunner().invoke(app, ["predict", str(path), "--imu", str(body_files["imu"]), "--json"])
    assert json.loads(done.stdout.splitlines()[0])["stop_seconds"] == stop
    with TestClient(make_app(student)) as client:
        answer = client.post("/v1/predict", files={"imu": body_files["imu"].read_bytes()}).json()
        assert answer["predictions"][0]["stop_seconds"] == stop and client.get("/v1/model").json()["window_seconds"] == window_seconds


@pytest.mark.parametrize("zero", [1_764_000_000.0, -100.0])
def test_a_clock_may_count_from_anywhere(
    body_student: karmma.Recognizer, body_path: Path, body_files: dict[str, Path], tmp_path: Path, zero: float
) -> None:
    moved = moved_clocks(body_files, tmp_path, zero)
    here, there = (list(body_student.predict_file(None, files, hop_seconds=1.0)) for files in (body_files, moved))
    assert [window.start_seconds - zero for window in there] == pytest.approx([window.start_seconds for window in here], abs=1e-6)
    for one, other in zip(here, there, strict=True):
        assert other.modalities == SENSORS
        assert other.top("verb").probability == pytest.approx(one.top("verb").probability, abs=1e-3)
    assert body_student.predict(moved).start_seconds == zero
    done = CliRunner().invoke(app, ["stream", str(body_path), f"imu={moved['imu']}",
                                    f"skeleton={moved['skeleton']}", "--speed", "4"])  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0 and 0 < len(rows) < 14 and any(row["modalities"] == ["imu", "skeleton"] for row in rows)


def test_a_file_of_another_clock_is_named(
    student: karmma.Recognizer, student_path: Path, clock_video: Path, body_files: dict[str, Path], tmp_path: Path
) -> None:
    imu = moved_clocks(body_files, tmp_path, 1_764_000_000.0)["imu"]
    first = next(iter(student.predict_file(clock_video, {"imu": imu})))
    assert "imu" not in first.modalities and "imu.csv: its seconds go from 1764000000.00 to 1764000005.98" in first.unreadable["imu"]
    assert "imu" in next(iter(student.predict_file(clock_video, {"imu": body_files["imu"]}))).modalities
    settings: dict[str, dict[str, Any]] = {**SETTINGS, "imu": {"seconds": 1.0, "offset_seconds": 1_764_000_000.0}}
    told = karmma.load(save_student(tmp_path / "told", settings))
    assert "imu" in next(iter(told.predict_file(clock_video, {"imu": imu}))).modalities
    done = CliRunner().invoke(app, ["stream", str(student_path), str(clock_video), f"imu={imu}"])
    assert isinstance(done.exception, KarmmaError) and "another clock?" in str(done.exception)


def test_a_recording_of_tables_goes_by_its_own_clock_whatever_a_sensors_is_ahead(body_files: dict[str, Path], tmp_path: Path) -> None:
    """Without the offset the recording was an hour long, and the imu lay at its end."""
    ahead = {"imu": moved_clocks(body_files, tmp_path, 3600.0)["imu"], "skeleton": body_files["skeleton"]}
    settings: dict[str, dict[str, Any]] = {"imu": {"seconds": 1.0}, "skeleton": {"frames": 6}}
    plain = karmma.load(save_student(tmp_path / "plain", settings))
    told = karmma.load(save_student(tmp_path / "told", settings | {"imu": {"seconds": 1.0, "offset_seconds": 3600.0}}))
    files = {"imu": body_files["imu"], "skeleton": body_files["skeleton"]}
    expected, found = ([one.predict(some), *one.predict_file(None, some)] for one, some in ((plain, files), (told, ahead)))
    for one, other in zip(expected, found, strict=True):
        assert one.modalities == other.modalities == ("imu", "skeleton") and not other.unreadable
        assert one.start_seconds == other.start_seconds and one.stop_seconds == pytest.approx(other.stop_seconds)
        assert one.top("verb").probability == pytest.approx(other.top("verb").probability, abs=1e-4)
    alone = told.predict({"imu": ahead["imu"]})
    assert alone.start_seconds == 0.0 and alone.stop_seconds == pytest.approx(5.98)


def moved_clocks(files: dict[str, Path], directory: Path, zero: float) -> dict[str, Path]:
    """The same recording by a clock that has another zero."""
    header, *rows = files["imu"].read_text().splitlines()
    cells = [row.split(",", 1) for row in rows]
    text = "\n".join([header, *(f"{zero + float(second)!r},{rest}" for second, rest in cells)])
    (directory / "imu.csv").write_text(text)
    for name in ("skeleton", "depth"):
        arrays = dict(np.load(files[name]))
        arrays["seconds"] = arrays["seconds"] + zero
        np.savez(directory / f"{name}.npz", **arrays)
    return {"imu": directory / "imu.csv", "skeleton": directory / "skeleton.npz", "depth": directory / "depth.npz"}


@pytest.fixture(scope="module")
def client(body_student: karmma.Recognizer) -> Iterator[TestClient]:
    with TestClient(make_app(body_student, ServiceLimits(seconds=20, windows=40, array_megabytes=8))) as client:
        yield client


def test_the_service_takes_them_without_a_video(
    client: TestClient, body_student: karmma.Recognizer, body_files: dict[str, Path], tmp_path: Path
) -> None:
    uploads = {name: (path.name, path.read_bytes()) for name, path in body_files.items()}
    rows = client.post("/v1/predict", files=uploads, params={"hop_seconds": 1}).json()["predictions"]
    expected = list(body_student.predict_file(None, body_files, window_seconds=2.0, hop_seconds=1.0))
    assert [row["start_seconds"] for row in rows] == [prediction.start_seconds for prediction in expected]
    assert [next(iter(row["verb"])) for row in rows] == [prediction.top("verb").name for prediction in expected]
    look = client.post("/v1/look", files=uploads, params={"at_seconds": 4}).json()
    assert look["modalities"] == list(SENSORS) and len(look["subsets"]) == 7
    assert len(look["inputs"]["skeleton"]["joints"]) == 6 and len(look["inputs"]["skeleton"]["joints"][0]) == 20
    assert len(look["inputs"]["skeleton"]["bones"]) == 19 and [7, 6] in look["inputs"]["skeleton"]["bones"]
    assert look["inputs"]["depth"]["frames"][0].startswith("data:image/jpeg") and len(look["inputs"]["imu"]["curves"]) == 6
    assert not [key for kept in EVERY for key in kept.kept if "karmma-upload-" in key[0][0]]


def test_what_the_service_does_not_take_is_said_in_one_sentence(
    client: TestClient, body_files: dict[str, Path], tmp_path: Path
) -> None:
    imu, skeleton = (body_files[name].read_bytes() for name in ("imu", "skeleton"))

    def packed(**arrays: np.ndarray) -> bytes:
        np.savez_compressed(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
        return (tmp_path / "a.npz").read_bytes()

    cases: list[tuple[dict[str, tuple[str, bytes]], int, str]] = [
        ({}, 422, "nothing to recognise: send file, or boxes, imu, skeleton, hands, depth"),
        ({"skeleton": ("a.npz", packed(skeleton=np.zeros((50_000, 20, 3)), seconds=np.arange(50_000.0)))}, 413, "24 MB of arrays"),
        ({"skeleton": ("a.npz", packed(skeleton=np.ones((30, 20, 3)), seconds=np.arange(30.0)))}, 413, "lasts 29 s"),
        ({"skeleton": ("a.npz", packed(skeleton=np.ones((30, 20, 3)), seconds=np.arange(30) * 1e300))}, 413, "takes up to 20 s"),
        ({"skeleton": ("a.npz", packed(skeleton=np.ones((30, 20, 3)), seconds=np.arange(30) / 1e4))}, 422, "less than 0.1 s"),
        ({"skeleton": ("../../a.npz", b"PK\3\4 no archive")}, 422, "skeleton: unreadable"),
        ({"skeleton": ("a.mat", skeleton[:500])}, 422, "skeleton: unreadable"),
        ({"skeleton": ("a.npz", packed(skeleton=np.array([{"a": 1}], dtype=object)))}, 422, "skeleton: holds pickled objects"),
        ({"depth": ("a.mkv", b"no film")}, 422, "depth: "),
    ]
    for files, status, words in cases:
        answer = client.post("/v1/predict", files=files or None)
        assert answer.status_code == status and words in answer.json()["error"], answer.json()
        assert "/" not in answer.json()["error"] and "tmp" not in answer.json()["error"]
    broken = {"imu": ("i.csv", imu), "depth": ("d.mkv", b"no film"), "skeleton": ("s.npz", skeleton[:200])}
    (first, *_) = client.post("/v1/predict", files=broken).json()["predictions"]
    assert first["modalities"] == ["imu"] and set(first["unreadable"]) == {"skeleton", "depth"}
