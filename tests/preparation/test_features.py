"""Tokens of extractors over a data set: complete, resumable, with seconds, refusing to mix."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from karmma.cli import app
from karmma.config import EncoderConfig, RecognizerConfig
from karmma.data.manifest import Manifest
from karmma.data.reading import read_segment
from karmma.data.tokens import TokenStore
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.modalities import make_modalities
from karmma.models.checkpoint import CheckpointInfo, save_checkpoint
from karmma.models.recognizer import RecognizerModel
from karmma.preparation.bench import FLOOR_DECODE, FLOOR_READ
from karmma.preparation.features import load_extractors, write_features
from karmma.trees import plain
from karmma.types import KarmmaError

SETTINGS: dict[str, dict[str, Any]] = {"rgb": {"frames": 2, "height": 48, "width": 64}, "audio": {}, "imu": {"seconds": 1.0}}


@pytest.fixture(scope="module")
def manifest(kitchen_root: Path) -> Manifest:
    whole = load_kitchen(kitchen_root)
    return replace(whole, splits={name: whole.splits[name] for name in ("train", "test")})


@pytest.fixture(scope="module")
def checkpoint(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained recognizer of three modalities."""
    modalities = make_modalities(SETTINGS)
    encoders = {"rgb": EncoderConfig("frames", 8), "audio": EncoderConfig("spectrogram", 8), "imu": EncoderConfig("sequence", 8)}
    config, specs = RecognizerConfig(encoders, dim=16, ffn_dim=16, head_dim=16, heads=2), {
        name: modality.spec for name, modality in modalities.items()
    }
    torch.manual_seed(0)
    model = RecognizerModel(config, specs, manifest.labels.sizes).eval()
    path = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(path, model, CheckpointInfo(config, specs, manifest.labels, {n: plain(m) for n, m in modalities.items()}, {}))
    return path


def test_tokens_of_every_segment_with_seconds(manifest: Manifest, checkpoint: Path, tmp_path: Path) -> None:
    extractors = load_extractors(checkpoint)
    counts = write_features(manifest, extractors, tmp_path, segments_per_shard=4, batch_size=3)
    segments = manifest.splits["train"]
    assert counts["train"] == dict.fromkeys(SETTINGS, len(segments))
    segment = segments[5]
    stored = read_segment(segment, extractors.modalities).arrays["audio"]
    with torch.no_grad():
        clip = extractors.modalities["audio"].transform(torch.from_numpy(stored)[None], None)
        expected = extractors.encoders["audio"](clip)[0]
    store = TokenStore(tmp_path / "train", 4)
    torch.testing.assert_close(store.gather("audio", np.array([0]), np.array([5]))[0], expected, atol=2e-3, rtol=2e-3)
    seconds = np.load(tmp_path / "train" / "rgb.seconds.npy")[5]
    assert len(seconds) == extractors.encoders["rgb"].tokens
    assert segment.start_seconds < seconds.min() <= seconds.max() < segment.stop_seconds
    heard = np.load(tmp_path / "train" / "audio.seconds.npy")[5]
    middle = (segment.start_seconds + segment.stop_seconds) / 2
    assert heard.mean() == pytest.approx(middle) and np.ptp(heard) == pytest.approx(2.0 * 7 / 8)
    with (tmp_path / "train" / "segments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[5]["name"] == segment.name and rows[5]["shard"] == "000001" and rows[5]["row"] == "1"
    assert rows[5]["present"] == "rgb+audio+imu" and json.loads(rows[5]["labels"]) == segment.labels


def test_what_cannot_be_read_is_absent_and_named_and_the_rest_is_there(
    manifest: Manifest, checkpoint: Path, tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(b"no film" * 50)
    first, *others = manifest.splits["train"][:4]
    broken = replace(first, sources={**first.sources, "rgb": garbage})
    small = replace(manifest, splits={"train": (broken, *others)})
    counts = write_features(small, load_extractors(checkpoint), tmp_path / "out")
    assert counts["train"] == {"rgb": 3, "audio": 4, "imu": 4}
    noted = "".join(path.read_text() for path in (tmp_path / "out" / "train").glob("failed-*.csv"))
    assert first.name in noted and "garbage.mp4" in noted


def test_an_interrupted_set_goes_on_and_other_settings_are_refused(
    manifest: Manifest, checkpoint: Path, tmp_path: Path
) -> None:
    extractors = load_extractors(checkpoint).only(["imu"])
    write_features(manifest, extractors, tmp_path, segments_per_shard=4)
    kept = (tmp_path / "train" / "000000" / "imu.npy").stat().st_mtime_ns
    before = np.load(tmp_path / "train" / "000001" / "imu.npy")
    shutil.rmtree(tmp_path / "train" / "000001")
    write_features(manifest, extractors, tmp_path, segments_per_shard=4)
    assert (tmp_path / "train" / "000000" / "imu.npy").stat().st_mtime_ns == kept
    assert np.array_equal(np.load(tmp_path / "train" / "000001" / "imu.npy"), before)
    with pytest.raises(KarmmaError, match="other views"):
        write_features(manifest, extractors, tmp_path, segments_per_shard=4, views=2)
    with pytest.raises(KarmmaError, match="neither empty nor"):
        write_features(manifest, extractors, tmp_path / "train")
    with pytest.raises(KarmmaError, match="unknown modality 'sonar'; there is: imu"):
        extractors.only(["sonar"])


def test_the_command_and_the_stages_of_loading(kitchen_root: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    arguments = ["features", str(checkpoint), str(kitchen_root), "--dataset", "kitchen", "--out", str(out), "--only", "imu"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0 and "with imu" in result.output and (out / "features.json").is_file()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        Path("recipes/demo.yaml").read_text().replace("rgb: {frames: 4, height: 64, width: 80}", "rgb: {frames: 2}")
    )
    arguments = ["bench", "data", str(recipe), f"data.root={kitchen_root}", "--count", "3", "--json", str(tmp_path / "rates.json")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rates = json.loads((tmp_path / "rates.json").read_text())["samples_per_second"]
    assert {"rgb: all", "rgb: resize", "flow: flow", "audio: mel", FLOOR_READ, FLOOR_DECODE} <= set(rates)
    assert all(rate > 0 for rate in rates.values())
