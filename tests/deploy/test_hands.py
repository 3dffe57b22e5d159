"""A headset's hands: files, live lines, faults, the service and its page's drawing, an exported student."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

import karmma
from karmma.cli import app
from karmma.deploy.export import export_student
from karmma.deploy.faults import FaultySensor, parse_fault
from karmma.deploy.recordings import find_recordings
from karmma.deploy.runtime import load_any
from karmma.deploy.sensors import Lines, SeriesFile, TableFile, parse_source
from karmma.deploy.service.app import make_app
from karmma.deploy.service.uploads import ServiceLimits
from karmma.deploy.session import StreamConfig, StreamSession, pose_shapes
from karmma.deploy.stream import simulate_stream
from karmma.types import KarmmaError

from ..modalities.test_hands import moving_hands
from .conftest import save_student

SECONDS = np.arange(180) / 30


@pytest.fixture(scope="session")
def headset_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("headset"), {"imu": {"seconds": 1.0, "span": "segment"}, "hands": {"frames": 8}})


@pytest.fixture(scope="session")
def headset(headset_path: Path) -> karmma.Recognizer:
    return karmma.load(headset_path)


@pytest.fixture(scope="session")
def headset_files(tmp_path_factory: pytest.TempPathFactory, body_files: dict[str, Path]) -> dict[str, Path]:
    """Six seconds: the left hand leaves the view after two seconds, both from four to five."""
    hands = np.concatenate([moving_hands(), moving_hands()[::-1]])
    hands[60:, 0], hands[120:150] = np.nan, np.nan
    path = tmp_path_factory.mktemp("headset_files") / "walk_hands.npz"
    np.savez(path, hands=hands.astype(np.float32), seconds=SECONDS)
    return {"imu": body_files["imu"], "hands": path}


def sensors_of(files: dict[str, Path]) -> list[Any]:
    return [TableFile(files["imu"], "imu"), SeriesFile(files["hands"], "hands")]


def test_files_are_recognised_by_their_option_alone_and_in_directories(headset_path: Path, headset_files: dict[str, Path]) -> None:
    base = ["predict", str(headset_path), "--json"]
    done = CliRunner().invoke(app, [*base, "--hands", str(headset_files["hands"]), "--imu", str(headset_files["imu"])])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["modalities"] for row in rows] == [["imu", "hands"]] * len(rows) and len(rows) == 3
    folder = CliRunner().invoke(app, [*base, "--hands", str(headset_files["hands"].parent)])
    assert folder.exit_code == 0 and [json.loads(line)["modalities"] for line in folder.stdout.splitlines()] == [["hands"]] * 3
    refused = CliRunner().invoke(app, [*base, str(headset_files["hands"])])
    assert isinstance(refused.exception, KarmmaError) and "--hands" in str(refused.exception)
    assert find_recordings([], {"hands": headset_files["hands"].parent})[0].name == "walk"


def test_a_stream_sees_what_a_stored_segment_holds(headset: karmma.Recognizer, headset_files: dict[str, Path]) -> None:
    session, empty = StreamSession(headset, StreamConfig()), 0
    for due, _ in simulate_stream(session, sensors_of(headset_files), 6.0):
        if due < 2.0:
            continue
        event = session.answer(due)
        assert event.health == {"imu": "present", "hands": "present"}, due  # no hand in view is no fault
        window, _ = session.window(due)
        stored = headset.read_window(None, due - 2.0, due, headset_files)
        both = [made.inputs["hands"] for made in (window, stored)]
        same = both[0][..., 3] == both[1][..., 3]
        assert same.mean() > 0.9  # what comes after the window bridges short losses in files alone
        np.testing.assert_allclose(both[0][same], both[1][same], atol=0.35)
        empty += not both[0][..., 3][:, 0].any()
    assert empty >= 2


@pytest.mark.parametrize(("fault", "reason"), [("hands=dead:2:4", "no data"), ("hands=frozen:0.5:4", "frozen")])
def test_an_ill_tracker_is_absent_and_the_imu_goes_on(
    headset: karmma.Recognizer, headset_files: dict[str, Path], fault: str, reason: str
) -> None:
    session, events = StreamSession(headset, StreamConfig()), {}
    sensors = [FaultySensor(sensor, [parse_fault(fault)]) for sensor in sensors_of(headset_files)]
    for due, _ in simulate_stream(session, sensors, 6.0):
        events[due] = session.answer(due)
    assert events[3.5].health["hands"] == "absent" and events[3.5].reasons["hands"] == reason
    assert events[3.5].prediction is not None and events[3.5].prediction.modalities == ("imu",)
    assert events[5.5].health["hands"] == "present"


def test_lines_may_leave_hands_out_of_view_empty_and_have_confidences(
    headset: karmma.Recognizer, headset_files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = pose_shapes(headset)
    assert shapes == {"hands": (2, 21, 3)}
    (sensor,) = parse_source("hands=tcp:9003", 16000, shapes)
    assert isinstance(sensor, Lines)
    hands = np.load(headset_files["hands"])["hands"]
    confident = np.concatenate([hands, np.full((*hands.shape[:3], 1), 0.8, np.float32)], -1)
    expected = headset.read_window(None, 1.0, 3.0, headset_files).inputs["hands"]
    for values in (hands, confident):
        text = "\n".join(
            ",".join([str(second), *("" if np.isnan(number) else str(number) for number in pose.ravel())])
            for second, pose in zip(SECONDS, values, strict=True)
        )
        session = StreamSession(headset, StreamConfig(2.0, monitor=False))
        for second, pose in sensor.parsed(io.StringIO("seconds,x0\n" + text)):
            if second < 3.02:
                session.push("hands", second, pose)
        window, _ = session.window(3.0)
        np.testing.assert_allclose(window.inputs["hands"], expected, atol=1e-3)
        assert session.buffers["hands"].broken == 0
    assert list(sensor.parsed(io.StringIO("0.1,1,2,3\n"))) == []
    assert "hands: line 1 is not seconds,x0,y0,z0,…,z41" in capsys.readouterr().err


def test_the_service_takes_hands_and_the_page_can_draw_them(headset: karmma.Recognizer, headset_files: dict[str, Path]) -> None:
    with TestClient(make_app(headset, ServiceLimits())) as client:
        files = {"hands": ("walk_hands.npz", headset_files["hands"].read_bytes())}
        answer = client.post("/v1/predict", files=files)
        assert answer.status_code == 200 and answer.json()["predictions"][0]["modalities"] == ["hands"]
        shown = client.post("/v1/look", files=files, params={"at_seconds": 1.0, "window_seconds": 2.0}).json()["inputs"]["hands"]
        later = client.post("/v1/look", files=files, params={"at_seconds": 3.0, "window_seconds": 2.0}).json()["inputs"]["hands"]
        broken = client.post("/v1/predict", files={"hands": ("walk_hands.npz", b"broken")})
    assert len(shown["joints"][0]) == 42 and all(shown["joints"][0]) and len(shown["bones"]) == 40
    assert {index for bone in shown["bones"] for index in bone} == set(range(42))
    assert later["joints"][4][:21] == [None] * 21 and all(later["joints"][4][21:])
    assert broken.status_code == 422 and "hands" in broken.json()["error"]


def test_an_exported_student_answers_alike(
    headset: karmma.Recognizer, headset_path: Path, headset_files: dict[str, Path], tmp_path: Path
) -> None:
    export_student(headset_path, tmp_path / "exported")
    exported = load_any(tmp_path / "exported")
    for only in (["hands"], ["imu", "hands"]):
        one, other = (student.predict({n: str(p) for n, p in headset_files.items()}, start_seconds=1.0, stop_seconds=3.0, only=only)
                      for student in (headset, exported))  # fmt: skip
        assert [entry.name for entry in one.ranked["verb"]] == [entry.name for entry in other.ranked["verb"]]
        assert one.ranked["verb"][0].probability == pytest.approx(other.ranked["verb"][0].probability, abs=1e-4)
