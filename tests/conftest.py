"""Tiny media and models made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from karmma.config import EncoderConfig, RecognizerConfig
from karmma.datasets.kitchen import KitchenConfig, simulate
from karmma.media.write import VideoWriter
from karmma.models.recognizer import RecognizerModel
from karmma.types import Batch, ModalitySpec

FRAMES_HZ = 10.0


@pytest.fixture(scope="session")
def clock_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds at 10 Hz whose grey level tells the time (50 a second) and whose tone starts at second 2."""
    path = tmp_path_factory.mktemp("media") / "clock.mp4"
    seconds = np.arange(4 * 16000) / 16000
    with VideoWriter(path, 64, 48, FRAMES_HZ, 16000, crf=4) as writer:
        for index in range(40):
            writer.write_frame(np.full((48, 64, 3), 20 + 5 * index, np.uint8))
        writer.write_audio(np.where(seconds >= 2, 0.5 * np.sin(2 * np.pi * 1000 * seconds), 0.0))
    return path


@pytest.fixture(scope="session")
def mute_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds without an audio track."""
    path = tmp_path_factory.mktemp("media") / "mute.mp4"
    with VideoWriter(path, 64, 48, FRAMES_HZ) as writer:
        for index in range(20):
            writer.write_frame(np.full((48, 64, 3), 10 * index, np.uint8))
    return path


TINY_KITCHEN = KitchenConfig(
    seed=3, participants={"source": 1, "train": 2, "validation": 1, "test": 1}, recording_seconds=14, width=96, height=72,
    frames_hz=10, imu_hz=50, hands_hz=20,
)  # fmt: skip


@pytest.fixture(scope="session")
def kitchen_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated set."""
    return simulate(tmp_path_factory.mktemp("kitchen"), TINY_KITCHEN, workers=1)


SPECS = {
    "rgb": ModalitySpec("rgb", (2, 16, 16, 3), "frames height width channels"),
    "audio": ModalitySpec("audio", (16, 24), "mel-bands frames"),
    "imu": ModalitySpec("imu", (20, 6), "samples axes"),
    "detections": ModalitySpec("detections", (2, 3, 8), "frames boxes features"),
}
LABEL_SIZES = {"verb": 5, "noun": 7}
TINY_RECOGNIZER = RecognizerConfig(
    encoders={
        "rgb": EncoderConfig("frames", 8), "audio": EncoderConfig("spectrogram", 8), "imu": EncoderConfig("sequence", 8),
        "detections": EncoderConfig("boxes", 8),
    },
    dim=16, ffn_dim=16, head_dim=32, heads=2, layers=2,
)  # fmt: skip


def make_recognizer(seed: int = 0, **changes: object) -> RecognizerModel:
    from dataclasses import replace

    torch.manual_seed(seed)
    return RecognizerModel(replace(TINY_RECOGNIZER, **changes), SPECS, LABEL_SIZES).eval()  # type: ignore[arg-type]


def make_batch(size: int = 4, seed: int = 0) -> Batch:
    """Random inputs, everything present."""
    generator = torch.Generator().manual_seed(seed)
    data = {name: torch.randn(size, *spec.input_shape, generator=generator) for name, spec in SPECS.items()}
    data["detections"][..., 4] = data["detections"][..., 4].abs()
    present = {name: torch.ones(size, dtype=torch.bool) for name in SPECS}
    labels = {head: torch.randint(count, (size,), generator=generator) for head, count in LABEL_SIZES.items()}
    return Batch(data, present, labels)
