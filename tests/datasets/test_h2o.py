"""H2O in its own layout: action files, numbered pictures from 0 on, joints of both hands a file a moment."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from karmma.cli import app
from karmma.data.reading import read_segment
from karmma.datasets import DATASETS, find_data_set
from karmma.datasets.h2o import ACTIONS, H2oConfig, find_takes, load_h2o
from karmma.modalities import make_modalities
from karmma.preparation.check import check_manifest
from karmma.types import KarmmaError

HEADER = "id path action_label start_act end_act start_frame end_frame"
FRAMES = 60


def write_labels(root: Path, name: str, rows: list[str], header: str = HEADER) -> None:
    (root / "label_split").mkdir(parents=True, exist_ok=True)
    (root / "label_split" / f"action_{name}.txt").write_text("\n".join([header, *rows]) + "\n")


def write_take(root: Path, take: str) -> None:
    """Two seconds: pictures that grow lighter by 3 a frame, a right hand that moves right by a millimetre a frame, no left one."""
    camera, joints = root / take / "cam4", np.random.default_rng(0).normal((0.1, 0.1, 0.5), 0.03, (21, 3))
    for folder in ("rgb256", "hand_pose", "depth"):
        (camera / folder).mkdir(parents=True)
    for frame in range(FRAMES):
        cv2.imwrite(str(camera / "rgb256" / f"{frame:06d}.jpg"), np.full((36, 64, 3), 20 + 3 * frame, np.uint8))
        cv2.imwrite(str(camera / "depth" / f"{frame:06d}.png"), np.full((36, 64), 500 + 10 * frame, np.uint16))
        right = joints + np.array([0.001 * frame, 0, 0])
        numbers = [0, *[9.0] * 63, 1, *right.ravel()]
        (camera / "hand_pose" / f"{frame:06d}.txt").write_text(" ".join(f"{number:.6f}" for number in numbers))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_take(tmp_path, "subject1/h1/0")
    write_take(tmp_path, "subject4_ego/k2/1")
    write_labels(tmp_path, "train", ["1 subject1/h1/0 16 0 29 0 59", "2 subject1/h1/0 1 30 59 0 59", "3 subject2/h1/0 8 0 9 0 90"])
    write_labels(tmp_path, "val", ["1 subject1/h1/0 36 15 44 0 59"])
    write_labels(tmp_path, "test", ["17 subject4/k2/1 10 40 0 59"], "id path start_act end_act start_frame end_frame")
    return tmp_path


def test_classes_are_numbered_as_published() -> None:
    assert len(ACTIONS) == DATASETS["h2o"].label_sizes["action"] == 36  # type: ignore[index]
    published = {1: "grab book", 8: "grab cappuccino", 16: "place cappuccino", 17: "open lotion", 22: "close chips",
                 23: "pour milk", 24: "take out espresso", 30: "put in cappuccino", 36: "squeeze lotion"}  # fmt: skip
    assert {number: ACTIONS[number - 1] for number in published} == published


def test_actions_are_cut_by_their_pictures_and_hands_are_in_step(root: Path) -> None:
    done = CliRunner().invoke(app, ["convert", "h2o-hands", str(root), "--out", str(root / "hands")])
    assert done.exit_code == 0 and "subject1_h1_0: 60 moments" in done.output and "subject4_k2_1: 60 moments" in done.output
    manifest = load_h2o(root, H2oConfig())
    assert {split: len(rows) for split, rows in manifest.splits.items()} == {"train": 2, "validation": 1, "test": 1}
    assert manifest.provenance["takes_missing"] == 1
    assert manifest.provenance["takes_by_modality"] == {"rgb": 2, "flow": 2, "hands": 2, "depth": 2}
    second, hidden = manifest.split("train")[1], manifest.split("test")[0]
    assert (second.name, second.participant, second.start_seconds, second.stop_seconds) == ("train_2", "subject1", 1.0, 2.0)
    assert second.labels == {"action": 0} and hidden.labels == {} and hidden.participant == "subject4" and hidden.name == "test_17"
    modalities = make_modalities({
        "rgb": {"frames": 3, "height": 18, "width": 32}, "flow": {"frames": 2}, "hands": {"frames": 30}, "depth": {"frames": 3},
    })  # fmt: skip
    reading = read_segment(second, modalities)
    assert not reading.failures and set(reading.arrays) == {"rgb", "flow", "hands", "depth"}
    # Six instants of frames 30 to 59, each picture 20 + 3 a frame.
    expected = [20 + 3 * int((1.0 + (index + 0.5) / 6) * 30 + 1e-6) for index in range(6)]
    assert reading.arrays["rgb"].mean((1, 2, 3)) == pytest.approx(expected, abs=2)
    metres = [0.5 + 0.01 * int((1.0 + (index + 0.5) / 6) * 30 + 1e-6) for index in range(6)]
    assert reading.arrays["depth"].mean((1, 2)) == pytest.approx([255 * (1 - metre / 3) for metre in metres], abs=1)
    hands = reading.arrays["hands"]
    assert not hands[:, 0].any() and (hands[:, 1, :, 3] == 1).all()
    wrists = hands[:, 1, 0, :3]
    palm = 0.03 / (wrists[-1, 0] - wrists[0, 0]) * (39 / 40) * (29 / 30)  # metres, from how far the hand has moved
    assert wrists[0, 2] * palm == pytest.approx(-0.5, abs=0.1) and wrists[0, 1] < 0  # before and below the camera
    assert not check_manifest(manifest, 1).errors
    with pytest.raises(KarmmaError, match="split 'test' cannot be learnt from"):
        manifest.labelled_split("test")


def test_what_is_not_there_or_broken_is_named(root: Path, tmp_path: Path) -> None:
    load_h2o(root, find_data_set("h2o").settings({"annotations": str(root / "label_split"), "frames_hz": 25}, "settings"))
    for rows, words in (
        (["1 subject1/h1/0 37 0 9 0 9"], "line 2: action_label 37 is not from 1 to 36"),
        (["1 subject1/h1/0 0 0 9 0 9"], "action_label 0 is not from 1"),
        (["1 subject1/h1/0 5 9 8 0 9"], "line 2: end_act 8 lies before"),
        (["1 subject1/h1/0 5 -9 8 0 9"], "start_act '-9' is no whole number"), (["1 subject1/h1/0 5 9"], "4 cells for the columns"),
    ):  # fmt: skip
        write_labels(root, "train", rows)
        with pytest.raises(KarmmaError, match=f"action_train.txt: .*{words}"):
            load_h2o(root, H2oConfig())
    write_labels(root, "train", [], "id path")
    with pytest.raises(KarmmaError, match="line 1: no column 'start_act'"):
        load_h2o(root, H2oConfig())
    (root / "label_split" / "action_train.txt").unlink()
    with pytest.raises(KarmmaError, match="no action_train.txt in label_split or action_labels"):
        load_h2o(root, H2oConfig())
    write_labels(root, "train", ["1 subject9/h1/0 5 0 9 0 9"])
    write_labels(root, "val", [])
    write_labels(root, "test", [])
    with pytest.raises(KarmmaError, match="none of 1 takes is there; looked for e.g. subject9/h1/0/cam4/rgb256"):
        load_h2o(root, H2oConfig())


def test_broken_hands_are_named(root: Path) -> None:
    with pytest.raises(KarmmaError, match="no <subject>/<scene>/<take>/cam4/hand_pose"):
        find_takes(root / "subject1")
    path = root / "subject1/h1/0/cam4/hand_pose/000007.txt"
    for content, words in (("1 2 3", "3 numbers, expected 128"), ("a " * 128, "could not convert")):
        path.write_text(content)
        done = CliRunner().invoke(app, ["convert", "h2o-hands", str(root), "--out", str(root / "hands")])
        assert done.exit_code == 3 and f"000007.txt: {words}" in done.output
    assert [file.stem for file in (root / "hands").glob("*.npz")] == ["subject4_k2_1"]  # the others go on
