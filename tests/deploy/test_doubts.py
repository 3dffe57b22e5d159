"""Sensors whose units look wrong: used, and named wherever an answer is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

import karmma
from karmma.cli import app
from karmma.deploy.recognition import UNMET
from karmma.deploy.sensors import SeriesFile, TableFile
from karmma.deploy.service.app import make_app
from karmma.deploy.session import StreamConfig, StreamSession
from karmma.media.depth_pictures import millimetres_of
from karmma.media.tables import SENSOR_COLUMNS
from karmma.modalities.depth import Depth

from ..media.test_reading import shifted
from .conftest import save_student
from .test_body_stream import write_depth_film

WORDS = "the median force is 1.0"


def test_recordings_say_so_once_and_in_every_window(
    body_path: Path, body_student: karmma.Recognizer, body_files: dict[str, Path], in_g: Path
) -> None:
    sources = {"imu": in_g, "skeleton": body_files["skeleton"]}
    for doubtful in (body_student.predict(sources), *body_student.predict_file(None, sources, window_seconds=2.0)):
        assert doubtful.modalities == ("imu", "skeleton") and set(doubtful.doubted) == {"imu"}
        assert doubtful.doubted["imu"].startswith(str(in_g)) and WORDS in doubtful.doubted["imu"]
    assert not body_student.predict(sources, only=["skeleton"]).doubted and not body_student.predict(body_files).doubted
    arguments = ["predict", str(body_path), "--imu", str(in_g), "--skeleton", str(body_files["skeleton"]), "--window", "2"]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0 and len(rows) == 3 and all(WORDS in row["doubted"]["imu"] for row in rows)
    assert done.stderr.count("imu is doubtful") == 1 and "in g, or without gravity?" in done.stderr
    well = CliRunner().invoke(app, [*arguments[:3], str(body_files["imu"]), *arguments[4:], "--json"])
    assert not well.stderr and "doubted" not in json.loads(well.stdout.splitlines()[0])


def test_the_service_says_so_without_its_paths(body_student: karmma.Recognizer, in_g: Path) -> None:
    with TestClient(make_app(body_student)) as client:
        files = {"imu": ("mine.csv", in_g.read_bytes())}
        (first, *_) = client.post("/v1/predict", files=files).json()["predictions"]
        look = client.post("/v1/look", files=files).json()
    for doubted in (first["doubted"], look["doubted"]):
        assert WORDS in doubted["imu"] and "/tmp" not in doubted["imu"]


def test_streams_say_so_once_it_lasts(
    body_path: Path, body_student: karmma.Recognizer, body_files: dict[str, Path], in_g: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = body_student.stream([TableFile(in_g, "imu")], speed=4.0)
    events = list(running)
    assert all(event.health["imu"] == "present" for event in events[4:10])
    doubted = ["doubted" in event.row() for event in events]
    assert not any(doubted[:3]) and all(doubted[4:10]) and WORDS in events[5].row()["doubted"]["imu"]
    assert capsys.readouterr().err.count("karmma: imu: ") == 1
    assert not any("doubted" in event.row() for event in body_student.stream([TableFile(body_files["imu"], "imu")], speed=4.0))


def test_a_sensor_that_no_training_clip_had_is_doubted(body_files: dict[str, Path], tmp_path: Path) -> None:
    settings: dict[str, dict[str, object]] = {"imu": {"seconds": 1.0}, "skeleton": {"frames": 6}}
    path = save_student(tmp_path / "student", settings, provenance={"train_clips": {"imu": 12, "skeleton": 0}})
    student = karmma.load(path)
    sources = {name: body_files[name] for name in settings}
    assert student.predict(sources).doubted == {"skeleton": UNMET} and not student.predict(sources, only=["imu"]).doubted
    running = student.stream([TableFile(sources["imu"], "imu"), SeriesFile(sources["skeleton"], "skeleton")], speed=8.0)
    used = [event.row() for event in running if event.prediction is not None]
    assert used and all(("skeleton" in row["modalities"]) == (row.get("doubted") == {"skeleton": UNMET}) for row in used)


def depth_of(body_files: dict[str, Path]) -> np.ndarray:
    return np.asarray(np.load(body_files["depth"])["depth_metres"])


@pytest.mark.parametrize(("change", "words"), [
    (lambda metres: 1000 * metres, "the median depth is 2499 m: in another unit?"),
    (lambda metres: np.where(metres > 0, metres, 4.0), "100 % of the picture is not empty: a person alone is wanted"),
    (lambda metres: metres, ""),
])  # fmt: skip
def test_depth_of_another_unit_or_with_its_background(
    change: Callable[[np.ndarray], np.ndarray], words: str, body_student: karmma.Recognizer, body_files: dict[str, Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    metres = change(depth_of(body_files)).astype(np.float32)
    np.savez(tmp_path / "depth.npz", depth_metres=metres, seconds=np.arange(180) / 30)
    doubted = body_student.predict({"depth": tmp_path / "depth.npz", "skeleton": body_files["skeleton"]}).doubted
    assert bool(doubted) == bool(words) and words in doubted.get("depth", "")


def test_a_depth_film_and_a_live_camera_with_a_room_behind_the_person(
    body_student: karmma.Recognizer, body_files: dict[str, Path], tmp_path: Path
) -> None:
    room = np.where(depth_of(body_files) > 0, depth_of(body_files), 4.0)
    pictures = [millimetres_of(picture) for picture in room]
    film = write_depth_film(tmp_path / "room.mkv", np.stack(pictures))
    assert "a person alone is wanted" in body_student.predict({"depth": film}).doubted["depth"]
    session = StreamSession(body_student, StreamConfig(2.0))
    for index, picture in enumerate(pictures[:75]):
        session.push("depth", index / 30, picture)
    for second in (1.0, 1.5, 2.0, 2.4):
        row = session.answer(second).row()
    assert row["modalities"] == ["depth"] and "a person alone is wanted" in row["doubted"]["depth"]
    assert Depth().doubt(film) == ""  # a student of whole pictures


@pytest.mark.parametrize(("change", "words"), [
    (lambda box: box, ""),
    (lambda box: box * 640, "100 % of the boxes lie outside the picture, which goes from 0 to 1: in pixels?"),
    (lambda box: np.concatenate([box[:2], box[2:] - box[:2]]), "width and height in place of right and bottom?"),
])  # fmt: skip
def test_boxes_in_pixels_or_with_sizes(change: Callable[[np.ndarray], np.ndarray], words: str, tmp_path: Path) -> None:
    student = karmma.load(save_student(tmp_path / "student", {"detections": {"frames": 3}}))
    boxes = [(index / 10, change(np.array([0.5, 0.5, 0.6, 0.7]) + 0.003 * index)) for index in range(40)]
    path = tmp_path / "boxes.csv"
    rows = [f"{second},{','.join(f'{edge:.4f}' for edge in box)},0.9,object" for second, box in boxes]
    path.write_text("\n".join([f"seconds,{','.join(SENSOR_COLUMNS['detections'])}", *rows]))
    said = student.predict({"detections": path}).doubted.get("detections", "")
    session = StreamSession(student, StreamConfig(2.0))
    for second, box in boxes:
        session.push("detections", second, (*box, 0.9, "object"))
    event = [session.answer(second) for second in (2.0, 2.5, 3.0, 3.5)][-1]
    assert event.prediction is not None and event.prediction.doubted.get("detections", "") == said.removeprefix(f"{path}: ")
    assert words in said and bool(said) == bool(words)


def test_a_check_warns(in_g: Path, body_files: dict[str, Path]) -> None:
    from karmma.media.inspection import inspect_file

    assert any(WORDS in words for words in inspect_file(in_g, ("imu",)).warnings)
    assert not inspect_file(body_files["imu"], ("imu",)).warnings


def test_windows_behind_the_end_of_the_pictures_say_so(student_path: Path, clock_video: Path, tmp_path: Path) -> None:
    film = shifted(clock_video, tmp_path / "late.mkv", {"audio": 2.5})
    windows = list(karmma.load(student_path).predict_file(film, window_seconds=2.0, hop_seconds=1.5))
    assert [(w.stop_seconds, "rgb" in w.modalities, bool(w.doubted)) for w in windows] == [
        (2.0, True, False), (3.5, True, False), (5.0, True, True), (6.5, False, False),
    ]  # fmt: skip
    assert windows[2].doubted == {"rgb": f"{film}: its pictures end at 3.90 s, the recording goes on to 6.50 s"}
