"""A tiny untrained student with five live modalities, as checkpoint and exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import karmma
from karmma.config import EncoderConfig, plain
from karmma.modalities import make_modalities
from karmma.models.checkpoint import CheckpointInfo, save_checkpoint
from karmma.models.recognizer import RecognizerModel
from karmma.types import LabelSpace

from ..conftest import TINY_RECOGNIZER

SETTINGS: dict[str, dict[str, Any]] = {
    "rgb": {"frames": 2, "height": 24, "width": 32}, "audio": {"seconds": 0.5, "bands": 16}, "imu": {"seconds": 1.0},
}  # fmt: skip
LABELS = LabelSpace({"verb": ("take", "put", "cut"), "noun": ("cup", "pan")})


def save_student(directory: Path, settings: dict[str, dict[str, Any]], labels: LabelSpace = LABELS, **changes: Any) -> Path:
    """An untrained student whose logits spread enough to tell answers apart."""
    modalities = make_modalities(settings)
    kinds = {**TINY_RECOGNIZER.encoders, "flow": EncoderConfig("frames", 8)}
    config = replace(TINY_RECOGNIZER, encoders={name: kinds[name] for name in modalities}, **changes)
    specs = {name: modality.spec for name, modality in modalities.items()}
    torch.manual_seed(0)
    model = RecognizerModel(config, specs, labels.sizes)
    info = CheckpointInfo(config, specs, labels, {n: plain(m) for n, m in modalities.items()}, {})
    save_checkpoint(directory, model, info)
    return directory


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
def student(student_path: Path) -> karmma.Recognizer:
    return karmma.load(student_path)


@pytest.fixture(scope="session")
def live_student(live_path: Path) -> karmma.Recognizer:
    return karmma.load(live_path)
