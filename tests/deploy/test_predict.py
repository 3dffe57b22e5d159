"""A saved checkpoint recognises files, arrays and clips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import karmma
from karmma.deploy.answers import AnswerLines, prediction_row
from karmma.modalities import make_modalities
from karmma.models.checkpoint import CheckpointInfo, save_checkpoint
from karmma.models.recognizer import RecognizerModel
from karmma.trees import plain
from karmma.types import LabelSpace

from ..conftest import TINY_RECOGNIZER

MODALITIES = make_modalities(
    {"rgb": {"frames": 2, "height": 16, "width": 16}, "audio": {"seconds": 0.5, "bands": 16}, "imu": {}}
)
LABELS = LabelSpace({"verb": ("take", "put", "cut"), "noun": ("cup", "pan")})


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> karmma.Recognizer:
    torch.manual_seed(0)
    config = replace(TINY_RECOGNIZER, encoders={name: TINY_RECOGNIZER.encoders[name] for name in MODALITIES})
    specs = {name: modality.spec for name, modality in MODALITIES.items()}
    model = RecognizerModel(config, specs, LABELS.sizes)
    directory = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(
        directory, model, CheckpointInfo(config, specs, LABELS, {n: plain(m) for n, m in MODALITIES.items()}, {})
    )
    return karmma.load(directory)


def test_a_file_is_recognised_from_what_it_has(recognizer: karmma.Recognizer, clock_video: Path, mute_video: Path) -> None:
    assert recognizer.predict(clock_video).modalities == ("rgb", "audio")
    prediction = recognizer.predict(mute_video, start_seconds=0.5, stop_seconds=1.5)
    assert prediction.modalities == ("rgb",) and (prediction.start_seconds, prediction.stop_seconds) == (0.5, 1.5)
    for head, count in (("verb", 3), ("noun", 2), ("action", 5)):
        entries = prediction.ranked[head]
        assert len(entries) == count and list(entries) == sorted(entries, key=lambda entry: -entry.probability)
    assert sum(entry.probability for entry in prediction.ranked["verb"]) == pytest.approx(1)
    assert prediction.top("action").name in {
        f"{verb} {noun}" for verb in LABELS.names["verb"] for noun in LABELS.names["noun"]
    }


def test_further_sensors_come_from_their_own_files(recognizer: karmma.Recognizer, kitchen_root: Path) -> None:
    video, imu = kitchen_root / "videos/P02/P02_01.MP4", kitchen_root / "imu/P02/P02_01.csv"
    assert recognizer.predict(video, start_seconds=2, stop_seconds=4, sources={"imu": imu}).modalities == (
        "rgb",
        "audio",
        "imu",
    )
    alone = recognizer.predict(video, start_seconds=2, stop_seconds=4, sources={"imu": imu}, only=["imu"])
    assert alone.modalities == ("imu",)


def test_a_sensor_that_cannot_be_read_is_named(recognizer: karmma.Recognizer, clock_video: Path, tmp_path: Path) -> None:
    imu = tmp_path / "imu.csv"
    imu.write_bytes(b"\xff\xfe no table")
    one = recognizer.predict(clock_video, start_seconds=0, stop_seconds=2, sources={"imu": imu})
    several = list(recognizer.predict_file(clock_video, {"imu": imu}, window_seconds=2.0))
    for prediction in (one, *several):
        assert prediction.modalities == ("rgb", "audio") and "imu.csv: not a CSV in UTF-8" in prediction.unreadable["imu"]
    assert prediction_row(one, 1)["unreadable"] == dict(one.unreadable)


def test_arrays_and_clips_give_the_same_answer(recognizer: karmma.Recognizer) -> None:
    arrays = {"imu": np.random.default_rng(0).standard_normal((120, 6)).astype(np.float32)}
    from_arrays = recognizer.predict(arrays)
    from_clip = recognizer.predict(karmma.Clip({"imu": torch.from_numpy(arrays["imu"])}))
    assert from_arrays == from_clip


def test_impossible_requests_are_clear(recognizer: karmma.Recognizer, mute_video: Path) -> None:
    for request, words in (
        (lambda: recognizer.predict({"imu": np.zeros((3, 6))}), "imu: shape"),
        (lambda: recognizer.predict({"imu": np.full((120, 6), np.nan)}), "imu: values must be finite numbers"),
        (lambda: recognizer.predict({"sonar": np.zeros(3)}), "unknown modality 'sonar'"),
        (lambda: recognizer.predict({}), "none of the modalities rgb, audio, imu is there"),
        (lambda: recognizer.predict(mute_video, only=["audio"]), "none of the modalities audio is there"),
        (lambda: recognizer.predict("nowhere.mp4"), "nowhere.mp4: no such file"),
        (lambda: recognizer.predict(mute_video, sources={"imu": Path("none.csv")}), "none.csv: no such file"),
    ):
        with pytest.raises(karmma.KarmmaError, match=words):
            request()


def test_long_files_are_answered_window_by_window(recognizer: karmma.Recognizer, clock_video: Path) -> None:
    predictions = list(recognizer.predict_file(clock_video, window_seconds=1.5))
    assert [round(p.start_seconds, 2) for p in predictions] == [0.0, 1.5, 3.0]
    assert predictions[-1].stop_seconds == pytest.approx(4.0, abs=0.1)
    def lines_of(how: str) -> list[str]:
        answers = AnswerLines(how, 2, several=False)
        return [line for prediction in predictions for line in answers.of("clock.mp4", prediction)]

    lines = lines_of("text")
    assert lines[0].startswith("0.00–1.50 s, from rgb + audio") and len(lines) == 3 * 4
    rows = [json.loads(line) for line in lines_of("json")]
    assert rows[0]["modalities"] == ["rgb", "audio"] and len(rows[0]["action"]) == 2
