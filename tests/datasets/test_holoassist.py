"""HoloAssist in its own layout: label files, sessions, and a HoloLens' hands put into its camera's axes and its film's seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from karmma.cli import app
from karmma.data.reading import read_segment
from karmma.datasets import find_data_set
from karmma.datasets.holoassist import HoloAssistConfig, convert_holoassist_hands, load_holoassist
from karmma.media.write import VideoWriter
from karmma.modalities import make_modalities
from karmma.types import KarmmaError

START_TICKS = 637930000000000000  # of the film; the first synchronised moment is half a second later
MOMENTS = 60
SESSIONS = {"train": ["z001-june-1-coffee", "z002-june-2-printer"], "val": ["R003-July-DSLR"]}


def write_labels(root: Path, events: dict[str, Any], names: Any = ("put-bag", "open-lid", "turn-screw")) -> None:
    folder = root / "labels"
    folder.mkdir(parents=True, exist_ok=True)
    for split, sessions in SESSIONS.items():
        (folder / f"{split}_0724.txt").write_text("\n".join(sessions) + "\n")
    for date in (20230101, 20230724):  # the newer one counts
        content = {"fine_grained_action": events if date == 20230724 else {}, "coarse_grained_action": {}}
        (folder / f"labels_{date}_2221_classes.json").write_text(json.dumps(content))
        (folder / f"labels_{date}_2221_label2idx.json").write_text(json.dumps({"fine_grained_action": names}))


def camera_pose(second: float) -> np.ndarray:
    """Of a camera that turns about the vertical and walks; x ahead, y left, z up."""
    angle = 0.5 * second
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    pose[:3, 3] = [0.3 * second, 1.0, 1.6]
    return pose


def write_session(root: Path, session: str) -> None:
    """Two seconds: both hands stay before the camera, 0.4 m ahead and 0.2 m below, the left one is lost in the second half."""
    export = root / session / "Export_py"
    (export / "Video").mkdir(parents=True)
    (export / "Hands").mkdir()
    with VideoWriter(export / "Video_compress.mp4", 64, 48, 10.0, 16000) as writer:
        for index in range(30):
            writer.write_frame(np.full((48, 64, 3), 40 + 3 * index, np.uint8))
        writer.write_audio(np.sin(np.arange(48000) / 9).astype(np.float32))
    (export / "Video" / "VideoMp4Timing.txt").write_text(f"{START_TICKS}\n{START_TICKS + 30_000_000}\n")
    random, poses = np.random.default_rng(0), []
    hands: dict[str, list[str]] = {"Left": [], "Right": []}
    shapes = {side: random.normal(0, 0.03, (26, 3)) for side in hands}
    for moment in range(MOMENTS):
        seconds = moment / 30
        stamp = f"{seconds:.6f}\t{START_TICKS + 5_000_000 + round(seconds * 1e7)}"
        pose = camera_pose(seconds)
        poses.append("\t".join([stamp, *map(str, pose.ravel())]))
        for side, sign in (("Left", 1.0), ("Right", -1.0)):
            local = np.array([0.4, 0.15 * sign, -0.2]) + shapes[side]
            joints = []
            for place in local:
                matrix = np.eye(4)
                matrix[:3, 3] = (pose @ np.append(place, 1))[:3]
                joints += matrix.ravel().tolist()
            there = int(side == "Right" or moment < 30)
            hands[side].append("\t".join([stamp, str(there), *map(str, joints), *["1"] * 26, *["1"] * 26]))
    (export / "Video" / "Pose_sync.txt").write_text("\n".join(poses) + "\n")
    (export / "IMU").mkdir()
    stamps = ["\t".join(pose.split("\t")[:2]) for pose in poses]
    for kind, axes in (("Accelerometer", (-0.8, -9.7, -1.3)), ("Gyroscope", (0.0, 0.5, 0.01))):
        rows = ["\t".join([stamp, *(str(value + moment / 100) for value in axes)]) for moment, stamp in enumerate(stamps)]
        (export / "IMU" / f"{kind}_sync.txt").write_text("\n".join(rows) + "\n")
    for side, lines in hands.items():
        (export / "Hands" / f"{side}_sync.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for session in (SESSIONS["train"][0], SESSIONS["val"][0]):
        write_session(tmp_path, session)
    write_labels(tmp_path, {
        SESSIONS["train"][0]: [[0.5, 1.5, [3, 1]], [1.0, 1.01, [3, 0]], [1.6, 2.4, [3, 2]]],
        SESSIONS["train"][1]: [[0.0, 9.0, [4, 0]]],
    })  # fmt: skip
    return tmp_path


def test_actions_of_sessions_that_are_there(root: Path) -> None:
    done = CliRunner().invoke(app, ["convert", "holoassist-hands", str(root / SESSIONS["train"][0]), "--out", str(root / "hands")])
    assert done.exit_code == 0 and "60 moments, left in view 50 %, right 100 %" in done.output
    manifest = load_holoassist(root, HoloAssistConfig())
    assert manifest.labels.names == {"action": ("put-bag", "open-lid", "turn-screw")}
    assert {split: len(rows) for split, rows in manifest.splits.items()} == {"train": 2, "validation": 0}
    counts = manifest.provenance
    assert counts["labels"] == "labels_20230724_2221_classes.json" and counts["actions_too_short"] == 1
    assert (counts["sessions"], counts["sessions_missing"], counts["sessions_without_actions"]) == (2, 1, 1)
    first, last = manifest.split("train")
    assert first.name == f"{SESSIONS['train'][0]}_0" and first.labels == {"action": 1}
    assert (first.start_seconds, first.stop_seconds) == (0.5, 1.5)
    assert last.name.endswith("_2") and last.participant == SESSIONS["train"][0]
    settings: dict[str, dict[str, Any]] = {"rgb": {"frames": 2, "height": 24, "width": 32}, "audio": {}, "hands": {"layout": "openxr"}}
    modalities = make_modalities(settings)
    reading = read_segment(first, modalities)
    assert not reading.failures and set(reading.arrays) == {"rgb", "audio", "hands"}
    assert not modalities["hands"].doubt(root / "hands" / f"{first.participant}.npz")  # type: ignore[attr-defined]


def test_hands_are_put_before_the_camera_by_the_films_seconds(root: Path) -> None:
    out = root / "hands" / "one.npz"
    found = convert_holoassist_hands(root / SESSIONS["train"][0], out)
    assert found == {"moments": 60, "left_share": 0.5, "right_share": 1.0}
    content = np.load(out)
    assert content["seconds"] == pytest.approx(0.5 + np.arange(MOMENTS) / 30, abs=1e-4)
    hands = content["hands"]
    assert hands.shape == (MOMENTS, 2, 26, 3) and np.isnan(hands[30:, 0]).all() and np.isfinite(hands[:30]).all()
    middle = hands.mean(2)
    np.testing.assert_allclose(middle[:30, 0], np.tile([-0.15, -0.2, -0.4], (30, 1)), atol=0.02)  # x right, y up, z back
    np.testing.assert_allclose(middle[:, 1], np.tile([0.15, -0.2, -0.4], (MOMENTS, 1)), atol=0.02)
    np.testing.assert_allclose(hands[:, 1], np.repeat(hands[:1, 1], MOMENTS, 0), atol=1e-4)  # the head's own motion is taken out


def test_the_headsets_motion_by_the_films_seconds(root: Path) -> None:
    session = root / SESSIONS["train"][0]
    turn = session / "Export_py/IMU/Gyroscope_sync.txt"
    lines = turn.read_text().splitlines()
    lines[7] = "\t".join([*lines[7].split("\t")[:3], "NaN", "0"])  # not a number
    lines[9] = lines[4]  # back in time
    turn.write_text("\n".join(lines[:50]) + "\n")  # and it ends earlier
    force = session / "Export_py/IMU/Accelerometer_sync.txt"
    force.write_text("\n".join(force.read_text().splitlines()[::2]) + "\n")  # half as often: taken between its moments
    done = CliRunner().invoke(app, ["convert", "holoassist-imu", str(session), "--out", str(root / "imu")])
    assert done.exit_code == 0 and "48 rows, 0.50 to 2.13 s, 2 left out" in done.output
    table = np.loadtxt(root / "imu" / f"{session.name}.csv", delimiter=",", skiprows=1)
    moments = np.delete(np.arange(50), [7, 9])
    assert table[:, 0] == pytest.approx(0.5 + moments / 30, abs=1e-4)
    expected = np.array([-0.8, -9.7, -1.3, 0.0, 0.5, 0.01]) + moments[:, None] / 100
    np.testing.assert_allclose(table[:, 1:], expected, atol=1e-4)
    segment = load_holoassist(root, HoloAssistConfig()).split("train")[0]
    modality = make_modalities({"imu": {"seconds": 1.0}})["imu"]
    assert read_segment(segment, {"imu": modality}).arrays["imu"].shape == (50 + 2 * round(0.2 * 50), 6)
    assert not modality.doubt(root / "imu" / f"{session.name}.csv")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("rows", "words"),
    [("0\t1\t2\t3\n", "Gyroscope_sync.txt: line 1: 4 columns, expected 5"), ("0\t1\tnan\t0\t0\n", "no moment has both"),
     ("0\t1\t0\t0\t0\n", "never on at once"), ("0\t1\tx\t0\t0\n", "could not convert string to float")],
)  # fmt: skip
def test_motion_that_cannot_be_used_is_named(root: Path, rows: str, words: str) -> None:
    session = root / SESSIONS["train"][0]
    (session / "Export_py/IMU/Gyroscope_sync.txt").write_text(rows)
    done = CliRunner().invoke(app, ["convert", "holoassist-imu", str(session), "--out", str(root / "imu")])
    assert done.exit_code == 3 and words in done.output and not (root / "imu").exists()


def test_moments_without_a_pose_joints_that_are_not_valid_and_moments_that_go_back(root: Path) -> None:
    session = root / SESSIONS["train"][0]
    poses, left = session / "Export_py/Video/Pose_sync.txt", session / "Export_py/Hands/Left_sync.txt"
    lines = poses.read_text().splitlines()
    lines[3] = "\t".join([*lines[3].split("\t")[:2], *["NaN"] * 16])
    lines[10] = "\t".join(["0", lines[4].split("\t")[1], *lines[10].split("\t")[2:]])
    poses.write_text("\n".join(lines[:50]) + "\n")  # and it ends earlier
    cells = left.read_text().splitlines()
    row = cells[5].split("\t")
    row[3 + 26 * 16 + 7] = "0"
    cells[5] = "\t".join(row)
    left.write_text("\n".join(cells))
    assert convert_holoassist_hands(session, root / "hands" / "one.npz")["moments"] == 49
    content = np.load(root / "hands" / "one.npz")
    hands = content["hands"]
    assert np.isnan(hands[3]).all() and np.isnan(hands[5, 0, 7]).all() and np.isfinite(hands[5, 0, 6]).all()
    assert (np.diff(content["seconds"]) > 0).all()


def test_what_is_broken_is_named(root: Path, tmp_path: Path) -> None:
    session = root / SESSIONS["train"][0]
    broken = session / "Export_py/Hands/Right_sync.txt"
    broken.write_text(broken.read_text().replace("\t1\t1\n", "\t1\n", 1))
    both = [str(session), str(root / SESSIONS["val"][0])]
    done = CliRunner().invoke(app, ["convert", "holoassist-hands", *both, "--out", str(root / "hands")])
    assert done.exit_code == 3 and "Right_sync.txt: line 1: 470 columns, expected 471" in done.output
    assert [path.stem for path in (root / "hands").glob("*.npz")] == [SESSIONS["val"][0]]
    (session / "Export_py/Video/VideoMp4Timing.txt").write_text("soon\n")
    broken.write_text((session / "Export_py/Hands/Left_sync.txt").read_text())
    with pytest.raises(KarmmaError, match="VideoMp4Timing.txt: line 1 is no tick"):
        convert_holoassist_hands(session, root / "hands" / "x.npz")
    for events, words in (
        ({SESSIONS["train"][0]: [[0.5, 1.5, 1]]}, "0: .* is not .start, stop, .task, class"),
        ({SESSIONS["train"][0]: [[0.5, 1.5, [0, 1]], [0, 1, [0, 3]]]}, "1: class 3 is not from 0 to 2"),
        ({SESSIONS["train"][0]: [[-1, 1.5, [0, 1]]]}, "are no seconds"),
    ):
        write_labels(root, events)
        with pytest.raises(KarmmaError, match=words):
            load_holoassist(root, HoloAssistConfig())
    write_labels(root, {}, names=[1, 2])
    with pytest.raises(KarmmaError, match="expected names of classes"):
        load_holoassist(root, HoloAssistConfig())
    with pytest.raises(KarmmaError, match="no coarse_grained_action"):
        load_holoassist(root, find_data_set("holoassist").settings({"benchmark": "coarse_grained_action"}, "settings"))
    with pytest.raises(KarmmaError, match=r"no labels_\*_classes.json in it; say where"):
        load_holoassist(root / "elsewhere", HoloAssistConfig())
    write_labels(tmp_path / "empty", {})
    with pytest.raises(KarmmaError, match="none of 3 sessions is there; looked for e.g. z001-june-1-coffee/Export_py"):
        load_holoassist(tmp_path / "empty", HoloAssistConfig())
