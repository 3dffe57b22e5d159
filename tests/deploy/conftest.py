"""Tiny untrained students, with five live modalities or with the sensors of a body, and a body to recognise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import karmma
from karmma.config import EncoderConfig
from karmma.deploy.recognition import Recognition
from karmma.media.tables import AXES, read_table
from karmma.modalities import make_modalities
from karmma.models.checkpoint import CheckpointInfo, save_checkpoint
from karmma.models.recognizer import RecognizerModel
from karmma.trees import plain
from karmma.types import LabelSpace, kind_of

from ..conftest import TINY_RECOGNIZER

SETTINGS: dict[str, dict[str, Any]] = {
    "rgb": {"frames": 2, "height": 24, "width": 32}, "audio": {"seconds": 0.5, "bands": 16}, "imu": {"seconds": 1.0},
}  # fmt: skip
ENGINES = ("openvino", "onnxruntime")
LABELS = LabelSpace({"verb": ("take", "put", "cut"), "noun": ("cup", "pan")})


def save_student(directory: Path, settings: dict[str, dict[str, Any]], labels: LabelSpace = LABELS, **changes: Any) -> Path:
    """An untrained student whose logits spread enough to tell answers apart. `provenance` may be among the changes."""
    modalities = make_modalities(settings)
    kinds = {
        **TINY_RECOGNIZER.encoders, "flow": EncoderConfig("frames", 8), "skeleton": EncoderConfig("skeleton", 8),
        "hands": EncoderConfig("hands", 8),
        "depth": EncoderConfig("views", 8, stack=2), "slow_features": EncoderConfig("features", 8),
    }  # fmt: skip
    provenance = changes.pop("provenance", {})
    config = replace(TINY_RECOGNIZER, encoders={name: kinds.get(name) or kinds[kind_of(name)] for name in modalities}, **changes)
    specs = {name: modality.spec for name, modality in modalities.items()}
    torch.manual_seed(0)
    model = RecognizerModel(config, specs, labels.sizes)
    info = CheckpointInfo(config, specs, labels, {n: plain(m) for n, m in modalities.items()}, provenance)
    save_checkpoint(directory, model, info)
    return directory


def inputs_for(recognition: Recognition, count: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.normal(size=(count, *spec.input_shape)).astype(np.float32) for name, spec in recognition.specs.items()}


@pytest.fixture(scope="session")
def student_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("student"), SETTINGS)


@pytest.fixture(scope="session")
def live_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With every modality that a stream can have."""
    return save_student(tmp_path_factory.mktemp("live"), {
        "rgb": {"frames": 2, "height": 24, "width": 32}, "flow": {"frames": 2, "height": 24, "width": 32, "step_seconds": 0.1},
        "audio": {"seconds": 1.0, "bands": 16}, "detections": {"frames": 3}, "imu": {"seconds": 1.0},
    })  # fmt: skip


@pytest.fixture(scope="session")
def body_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without any video: the sensors of UTD-MHAD."""
    return save_student(tmp_path_factory.mktemp("body"), {
        "imu": {"seconds": 1.0, "span": "segment"}, "skeleton": {"frames": 6}, "depth": {"frames": 4, "size": 24, "content": "person"},
    })  # fmt: skip


@pytest.fixture(scope="session")
def body_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Six seconds of somebody who walks to and fro: an IMU at 50 Hz, skeletons and depth pictures at 30."""
    directory, slow, fast = tmp_path_factory.mktemp("body_files"), np.arange(180) / 30, np.arange(300) / 50
    random = np.random.default_rng(0)
    joints = random.normal(0, 0.3, (20, 3)) + np.array([0, 0, 2.5])
    sway = np.sin(2 * slow)[:, None] * random.normal(0, 0.1, (180, 20)) + 0.2 * np.sin(slow)[:, None]
    poses = np.repeat(joints[None], 180, 0)
    poses[..., 0] += sway
    np.savez(directory / "walk_skeleton.npz", skeleton=poses.astype(np.float32), seconds=slow)
    millimetres = np.zeros((180, 60, 80), np.uint16)
    for index, second in enumerate(slow):
        left = round(30 + 15 * np.sin(second))
        millimetres[index, 10:50, left : left + 14] = 2400 + random.integers(0, 200, (40, 14))
    np.savez(directory / "walk_depth.npz", depth_metres=millimetres * np.float32(0.001), seconds=slow)
    values = np.stack([np.sin(fast * (axis + 1)) for axis in range(6)], -1) + random.normal(0, 0.01, (300, 6))
    values[:, 2] += 9.8
    rows = "\n".join(",".join(f"{number:.5f}" for number in (second, *row)) for second, row in zip(fast, values, strict=True))
    (directory / "walk_imu.csv").write_text(f"seconds,{','.join(AXES)}\n{rows}\n")
    return {name: next(directory.glob(f"walk_{name}.*")) for name in ("imu", "skeleton", "depth")}


@pytest.fixture
def in_g(body_files: dict[str, Path], tmp_path: Path) -> Path:
    """The same IMU, its force in g."""
    table = read_table(body_files["imu"], AXES)
    columns = [table[name] / (9.81 if name.startswith("accel") else 1.0) for name in AXES]
    rows = "\n".join(",".join(f"{value:.6f}" for value in row) for row in zip(table["seconds"], *columns, strict=True))
    (tmp_path / "g_imu.csv").write_text(f"seconds,{','.join(AXES)}\n{rows}\n")
    return tmp_path / "g_imu.csv"


@pytest.fixture(scope="session")
def student(student_path: Path) -> karmma.Recognizer:
    return karmma.load(student_path)


@pytest.fixture(scope="session")
def body_student(body_path: Path) -> karmma.Recognizer:
    return karmma.load(body_path)


@pytest.fixture(scope="session")
def live_student(live_path: Path) -> karmma.Recognizer:
    return karmma.load(live_path)
