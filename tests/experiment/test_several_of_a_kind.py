"""Two cameras and two IMUs: a kind of sensor may be there several times, each with a name of its own."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

import karmma
from karmma.cli import app
from karmma.config import Recipe
from karmma.data.reading import read_segment
from karmma.datasets.folder import FolderConfig, load_folder
from karmma.datasets.prepared import PreparedConfig, load_prepared
from karmma.deploy.faults import FaultySensor, parse_fault
from karmma.deploy.recordings import find_recordings
from karmma.deploy.sensors import Lines, TableFile, VideoFile, parse_source
from karmma.deploy.service.app import make_app
from karmma.deploy.session import StreamConfig, StreamSession
from karmma.deploy.stream import simulate_stream
from karmma.experiment.run import run
from karmma.media.kept import EVERY
from karmma.modalities import MODALITIES, find_modality, make_modalities
from karmma.modalities.imu import Imu
from karmma.preparation.check import check_manifest
from karmma.preparation.prepare import prepare
from karmma.preparation.segments import PrepareConfig
from karmma.trees import build
from karmma.types import KINDS, KarmmaError, kind_of

NAMES = ("rgb", "side_rgb", "imu", "wrist_imu")
SETTINGS: dict[str, dict[str, Any]] = {
    "rgb": {"frames": 2, "height": 24, "width": 32}, "side_rgb": {"frames": 2, "height": 16, "width": 24},
    "imu": {"seconds": 1.0}, "wrist_imu": {"seconds": 0.5},
}  # fmt: skip
TRAINING = {"epochs": 1, "batch_size": 4, "lr": 0.001}
KINDS_OF = {"rgb": {"kind": "frames", "width": 8}, "imu": {"kind": "sequence", "width": 8}}
RECOGNIZER: dict[str, Any] = {
    "encoders": {name: KINDS_OF[kind_of(name)] for name in NAMES}, "dim": 16, "layers": 1, "heads": 2, "ffn_dim": 16, "head_dim": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def own(kitchen_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people; the other's recording stands for the camera at the side and for the wrist, whose clock is a second ahead."""
    root, rows = tmp_path_factory.mktemp("several"), list[list[object]]()
    people = {"P02": "train", "P03": "test"}
    for person in people:
        shutil.copyfile(kitchen_root / f"videos/{person}/{person}_01.MP4", root / f"{person}.mp4")
        shutil.copyfile(kitchen_root / f"imu/{person}/{person}_01.csv", root / f"{person}_imu.csv")
    for person, split in people.items():
        other = next(name for name in people if name != person)
        for index in range(8):
            label = ("wave", "clap")[index % 2]
            tables = [f"{person}_imu.csv", f"{other}_imu.csv"]
            rows.append([f"{person}.mp4", f"{other}.mp4", index, index + 2, split, label, *tables, 1.0])
    with (root / "clips.csv").open("w", newline="") as file:
        header = ["path", "side_rgb_path", "start_seconds", "stop_seconds", "split", "action", "imu_path", "wrist_imu_path",
                  "wrist_imu_offset_seconds"]  # fmt: skip
        csv.writer(file).writerows([header, *rows])
    return root


@pytest.fixture(scope="module")
def student(own: Path, tmp_path_factory: pytest.TempPathFactory) -> karmma.Recognizer:
    directory = tmp_path_factory.mktemp("run")
    recipe = build(Recipe, {
        "name": "several", "seeds": [0], "trainings_at_once": 1, "data": {"dataset": "folder", "root": str(own), "workers": 1},
        "modalities": SETTINGS, "teacher": {"recognizer": RECOGNIZER, "training": TRAINING}, "train_teacher": False,
        "student": {"recognizer": {**RECOGNIZER, "own_votes": True}, "training": TRAINING},
        "methods": {"own": {"dropout": 0.3, "own_weight": 0.5}},
        "evaluation": {"sweep_draws": 1, "examples": 1, "split": "test"},
    }, "recipe")  # fmt: skip
    results = run(recipe, directory)
    assert results["available"]["train"] == dict.fromkeys(NAMES, 8) and not any(results["unreadable"].values())
    assert set(results["methods"]["own"]["subsets"]) >= {"rgb+side_rgb+imu+wrist_imu", "side_rgb", "wrist_imu"}
    return karmma.load(directory / "seed0" / "own")


def test_a_kind_is_what_stands_behind_the_last_underscore() -> None:
    assert set(KINDS) == set(MODALITIES)
    kinds = {"imu": "imu", "wrist_imu": "imu", "left_wrist_imu": "imu", "side_video": "video", "gaze": "gaze",
             "slow_features": "features", "imu_left": "imu_left"}  # fmt: skip
    assert {name: kind_of(name) for name in kinds} == kinds
    assert find_modality("wrist_imu") is Imu
    for name in ("side_video", "wristimu"):
        with pytest.raises(KarmmaError, match=f"unknown modality '{name}'"):
            find_modality(name)


def test_each_is_read_from_its_own_file_and_clock(own: Path) -> None:
    manifest = load_folder(own, FolderConfig())
    segment = manifest.split("train")[3]
    modalities = make_modalities(SETTINGS)
    arrays = read_segment(segment, modalities).arrays
    assert set(arrays) == set(NAMES)
    side, wrist = modalities["side_rgb"].read(own / "P03.mp4", 3.0, 5.0), modalities["wrist_imu"].read(own / "P03_imu.csv", 4.0, 6.0)
    assert side is not None and np.array_equal(arrays["side_rgb"], side)
    assert wrist is not None and np.array_equal(arrays["wrist_imu"], wrist)
    check = check_manifest(manifest, 1)
    assert not check.errors
    assert {report.modalities for report in check.files if report.path.name == "P02_imu.csv"} == {("imu", "wrist_imu")}


def test_shards_hold_each_under_its_name(own: Path, tmp_path: Path) -> None:
    manifest = load_folder(own, FolderConfig())
    side = dict.fromkeys(("side_flow", "side_audio"), own / "P03.mp4")  # of the other camera, whose people move and sound otherwise
    segment = replace(manifest.split("train")[3], sources={**manifest.split("train")[3].sources, **side})
    picture, names = SETTINGS["rgb"], ("rgb", "flow", "audio", "imu")
    settings = {"rgb": picture, "flow": picture, "audio": {"seconds": 1.0}, "imu": SETTINGS["imu"]}
    modalities = make_modalities(settings | {"wrist_imu" if name == "imu" else f"side_{name}": settings[name] for name in names})
    arrays = read_segment(segment, modalities).arrays
    config = PrepareConfig(short_side=72, crf=8, flow_hz=10, flow_short_side=72)
    prepare(replace(manifest, splits={"train": (segment,)}), str(tmp_path), config, workers=1)
    again = read_segment(load_prepared(tmp_path, PreparedConfig()).split("train")[0], modalities).arrays
    assert set(again) == set(arrays) == set(modalities)
    for name in modalities:
        (other,) = (foreign for foreign in modalities if foreign != name and kind_of(foreign) == kind_of(name))
        mine, its = (np.abs(again[name].astype(float) - arrays[kept]).mean() for kept in (name, other))
        assert mine < its / 2, name


def test_recordings_are_recognised_from_all_of_them(own: Path, student: karmma.Recognizer) -> None:
    files = {"imu": own / "P03_imu.csv", "side_rgb": own / "P02.mp4", "wrist_imu": own / "P02_imu.csv"}
    whole = student.predict(str(own / "P03.mp4"), start_seconds=2.0, stop_seconds=4.0, sources=files)
    assert whole.modalities == NAMES
    windows = list(student.predict_file(str(own / "P03.mp4"), files, window_seconds=2.0, hop_seconds=4.0))
    assert [window.modalities for window in windows] == [NAMES] * len(windows) and len(windows) >= 3
    alone = student.predict({"side_rgb": own / "P02.mp4"}, start_seconds=2.0, stop_seconds=4.0)
    assert alone.modalities == ("side_rgb",)
    found = find_recordings([own / "P03.mp4"], {"side_rgb": own, "wrist_imu": own})
    assert found[0].sources == {"side_rgb": own / "P03.mp4"}  # of the recording's name; an IMU's table would be P03_wrist_imu.csv


def test_the_service_has_a_field_for_each(own: Path, student: karmma.Recognizer) -> None:
    tables = {"imu": ("i.csv", (own / "P03_imu.csv").read_bytes()), "wrist_imu": ("w.csv", (own / "P02_imu.csv").read_bytes())}
    side, film = (own / "P02.mp4").read_bytes(), ("a.mp4", (own / "P03.mp4").read_bytes())
    with TestClient(make_app(student)) as client:
        model, described = client.get("/v1/model").json(), client.get("/openapi.json").text
        assert model["fields"]["boxes"] == "detections" and model["fields"]["side_rgb"] == "side_rgb" and "rgb" not in model["fields"]
        assert '"wrist_imu"' in described and "a recording of its own" in described
        answer = client.post("/v1/predict?window_seconds=4", files={"file": film, "side_rgb": ("b.MP4", side), **tables}).json()
        assert {tuple(row["modalities"]) for row in answer["predictions"]} == {NAMES}
        alone = client.post("/v1/look", files={"side_rgb": ("b", side)}, params={"window_seconds": 4}).json()
        assert alone["modalities"] == ["side_rgb"] and alone["inputs"]["side_rgb"]["frames"]
        broken = client.post("/v1/predict", files={"file": film, "side_rgb": ("../../b.mp4", side[:3000]), **tables}).json()
        (words,) = {row["unreadable"]["side_rgb"] for row in broken["predictions"]}
        assert "side_rgb" in words and "/" not in words and broken["predictions"][0]["modalities"] == ["rgb", "imu", "wrist_imu"]
        for sent in ({"file": film, "left_imu": tables["imu"]}, {"left_imu": tables["imu"]}):
            unknown = client.post("/v1/predict", files=sent)
            assert unknown.status_code == 422 and unknown.json()["error"].startswith("unknown field 'left_imu'; this student takes")
    assert not [key for kept in EVERY for key in kept.kept if "karmma-upload-" in key[0][0]]


def test_streams_hear_each_and_one_may_fall_ill(own: Path, student: karmma.Recognizer, capsys: pytest.CaptureFixture[str]) -> None:
    sources = [f"video={own / 'P03.mp4'}", f"side_video={own / 'P02.mp4'}", f"imu={own / 'P03_imu.csv'}",
               f"wrist_imu={own / 'P02_imu.csv'}"]  # fmt: skip
    sensors = [sensor for text in sources for sensor in parse_source(text, 16000)]
    assert sensors[1] == VideoFile(own / "P02.mp4", "side_video") and sensors[3] == TableFile(own / "P02_imu.csv", "wrist_imu")
    session = StreamSession(student, StreamConfig(2.0, monitor=True))
    assert session.sensors == ("video", "side_video", "imu", "wrist_imu")
    faults, events = [parse_fault("side_video=black:4:9"), parse_fault("wrist_imu=stuck:4:9")], {}
    for due, _ in simulate_stream(session, [FaultySensor(sensor, faults) for sensor in sensors], 9.0):
        events[due] = session.answer(due)
    prediction = events[3.0].prediction
    assert prediction is not None and prediction.modalities == NAMES
    ill = events[8.0]
    assert (ill.reasons["side_video"], ill.reasons["wrist_imu"]) == ("black", "stuck") and ill.health["video"] == "present"
    assert ill.prediction is not None and ill.prediction.modalities == ("rgb", "imu")
    window, _ = StreamSession(student, StreamConfig(2.0)).window(1.0)
    assert not window.inputs
    (lines,) = parse_source("wrist_imu=tcp:9007", 16000)
    assert isinstance(lines, Lines) and next(lines.parsed(io.StringIO("0.5,1,2,3,4,5,6\n"))) == (0.5, (1, 2, 3, 4, 5, 6))
    assert list(lines.parsed(io.StringIO("0.5,1\n"))) == [] and "wrist_imu: line 1 is not seconds,accel_x" in capsys.readouterr().err


def test_an_exported_student_has_all_of_them(own: Path, student: karmma.Recognizer, tmp_path_factory: pytest.TempPathFactory) -> None:
    checkpoint = next(tmp_path_factory.getbasetemp().glob("run*/seed0/own"))
    out = tmp_path_factory.mktemp("exported")
    done = CliRunner().invoke(app, ["export", str(checkpoint), "--out", str(out), "--workers", "1", "--subsets", "+".join(NAMES)])
    assert done.exit_code == 0, done.output
    files = ["--file", f"side_rgb={own / 'P02.mp4'}", "--file", f"wrist_imu={own / 'P02_imu.csv'}", "--imu", str(own / "P03_imu.csv")]
    answers = [CliRunner().invoke(app, ["predict", str(path), str(own / "P03.mp4"), *files, "--start", "2", "--stop", "4"]).output
               for path in (checkpoint, out)]  # fmt: skip
    assert "from rgb + side_rgb + imu + wrist_imu" in answers[0] and answers[0].splitlines()[0] == answers[1].splitlines()[0]
