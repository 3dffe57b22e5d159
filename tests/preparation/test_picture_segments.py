"""Segments of videos that are there as numbered pictures: what lies in a shard reads like the pictures."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from karmma.data.manifest import Manifest, Segment
from karmma.data.reading import read_segment
from karmma.datasets.prepared import PreparedConfig, load_prepared
from karmma.media.pictures import PictureSequence
from karmma.modalities import make_modalities
from karmma.preparation.prepare import prepare
from karmma.preparation.segments import PrepareConfig
from karmma.types import LabelSpace

CONFIG = PrepareConfig(short_side=48, frames_hz=25, flow_short_side=48, flow_hz=25, flow_step_seconds=0.2,
                       flow_bound_pixels=40.0, margin_seconds=0.5)  # fmt: skip
SENSORS = {"rgb": {"frames": 3, "height": 48, "width": 64, "margin": 0.0},
           "flow": {"frames": 3, "height": 24, "width": 32, "margin": 0.0, "step_seconds": 0.1}}  # fmt: skip
COUNT = 200  # pictures, of four seconds


def write_tar(path: Path, parts: dict[str, list[np.ndarray]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for part, pictures in parts.items():
            for number, picture in enumerate(pictures, 1):
                name = path.parent / "picture.png"
                cv2.imwrite(str(name), picture)
                archive.add(name, arcname=f"./{part}/frame_{number:010d}.png")
    return path


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A film that grows lighter and whose flow grows faster, 50 pictures of each a second."""
    root = tmp_path_factory.mktemp("pictures")
    film = [np.full((96, 128, 3), 20 + number, np.uint8) for number in range(COUNT)]
    speeds = [np.full((96, 128), 128 + number // 4, np.uint8) for number in range(COUNT)]
    still = [np.full((96, 128), 128, np.uint8)] * COUNT
    sources = {
        "rgb": PictureSequence(write_tar(root / "rgb.tar", {"": film}), 50.0),
        "flow": PictureSequence(write_tar(root / "flow.tar", {"u": speeds, "v": still}), 50.0, "u", 8.0, motion_seconds=0.02),
    }
    segments = tuple(Segment(f"s{i}", "p", begin, begin + 1.2, {"action": 0}, sources) for i, begin in enumerate((0.0, 0.9, 2.7)))
    return Manifest("films", LabelSpace({"action": ("a",)}), {"train": segments})


def test_segments_of_pictures_read_like_the_pictures(manifest: Manifest, tmp_path: Path) -> None:
    assert not prepare(manifest, str(tmp_path), CONFIG, workers=1).failures
    modalities = make_modalities(SENSORS)
    for old, new in zip(manifest.split("train"), load_prepared(tmp_path, PreparedConfig()).split("train"), strict=True):
        before, after = read_segment(old, modalities), read_segment(new, modalities)
        assert set(before.arrays) == set(after.arrays) == {"rgb", "flow"} and not after.failures
        assert np.abs(before.arrays["rgb"].astype(float) - after.arrays["rgb"].astype(float)).max() < 5
        before_flow, after_flow = (one.arrays["flow"].astype(float) for one in (before, after))
        assert np.abs(before_flow - after_flow).max() <= 3 and before_flow[-1, 0, 0, 0] > before_flow[0, 0, 0, 0] + 3


def test_a_segment_beyond_the_last_picture_is_a_failure(manifest: Manifest, tmp_path: Path) -> None:
    beyond = replace(manifest.split("train")[0], name="late", start_seconds=3.5, stop_seconds=4.8)
    flowing = replace(beyond, name="audio", stop_seconds=4.0, sources={"audio": beyond.sources["rgb"]})
    result = prepare(replace(manifest, splits={"train": (beyond, flowing)}), str(tmp_path), CONFIG, workers=1)
    words = {failure[0]: failure[-1] for failure in result.failures}
    assert "segment ends at 4.80 s, but the last picture at 4.00 s" in words["late"]
    assert "audio cannot be read from pictures" in words["audio"]


def test_flow_is_left_out_of_pictures_too(manifest: Manifest, tmp_path: Path) -> None:
    prepare(manifest, str(tmp_path), replace(CONFIG, flow_hz=0), workers=1)
    assert set(load_prepared(tmp_path, PreparedConfig()).split("train")[0].sources) == {"rgb"}
