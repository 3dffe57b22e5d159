"""Checkpoints: the same logits after reloading, strict, and nothing is executed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from karmma.models.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from karmma.models.recognizer import RecognizerModel
from karmma.models.unimodal import UnimodalClassifier, load_extractor, save_extractor
from karmma.types import KarmmaError, LabelSpace

from ..conftest import LABEL_SIZES, SPECS, make_batch, make_recognizer

LABELS = LabelSpace({head: tuple(f"{head}{i}" for i in range(count)) for head, count in LABEL_SIZES.items()})


def save(directory: Path) -> RecognizerModel:
    model = make_recognizer()
    save_checkpoint(
        directory, model, CheckpointInfo(model.config, SPECS, LABELS, {name: {} for name in SPECS}, {"recipe": "t"})
    )
    return model


def test_reloaded_logits_are_the_same(tmp_path: Path) -> None:
    model, batch = save(tmp_path), make_batch()
    again, info = load_checkpoint(tmp_path)
    for head, values in model(batch.data, batch.present).items():
        assert torch.equal(values, again(batch.data, batch.present)[head])
    assert info.labels == LABELS and info.specs == SPECS and info.provenance == {"recipe": "t"}
    assert json.loads((tmp_path / "config.json").read_text())["colour_order"] == "RGB"


def test_whoever_may_read_one_file_of_a_checkpoint_may_read_all(tmp_path: Path) -> None:
    """A service runs as another user than who trained."""
    save(tmp_path / "student")
    (tmp_path / "new").touch()
    assert {path.stat().st_mode for path in (tmp_path / "student").iterdir()} == {(tmp_path / "new").stat().st_mode}


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "not a karmma-checkpoint"),
        ({"version": 99}, "version 99"),
        ({"specs": {}}, "weights missing|unknown|none"),
        ({"labels": {"verb": ["a"], "noun": ["b", "c"]}}, "has shape"),
        ({"recognizer": {"encoders": {}, "dims": 3}}, "did you mean dim?"),
        ({"specs": {"imu": {"input_shape": [20, 6.0], "layout": "samples axes"}}}, "specs.imu.input_shape: .* are not sizes"),
        ({"specs": {"detections": {"input_shape": [2, 3], "layout": "frames boxes"}}}, "describes no model: not enough values"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(change: dict[str, object], words: str, tmp_path: Path) -> None:
    save(tmp_path)
    edit(tmp_path / "config.json", **change)
    with pytest.raises(KarmmaError, match=words.replace("?", r"\?")):
        load_checkpoint(tmp_path)


def test_missing_and_broken_files_are_clear(tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match="not a checkpoint"):
        load_checkpoint(tmp_path)
    save(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(KarmmaError, match="not JSON"):
        load_checkpoint(tmp_path)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


def test_a_pickle_in_place_of_weights_is_refused_and_not_run(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(KarmmaError, match="not a safetensors file"):
        load_checkpoint(tmp_path)


def test_label_spaces_tell_where_they_differ() -> None:
    other = LabelSpace({"verb": LABELS.names["verb"], "noun": (*LABELS.names["noun"][:-1], "spoon")})
    LABELS.require_same(LABELS, "x")
    with pytest.raises(KarmmaError, match="'noun' has other classes .* first differ at class 6"):
        LABELS.require_same(other, "x")
    with pytest.raises(KarmmaError, match="label sets action"):
        LABELS.require_same(LabelSpace({"action": ("a",)}), "x")
    with pytest.raises(KarmmaError, match="twice"):
        LabelSpace({"verb": ("a", "a")})


def test_extractors_move_from_pretraining_into_a_recognizer(tmp_path: Path) -> None:
    classifier = UnimodalClassifier("imu", make_recognizer(1).encoder("imu"), LABEL_SIZES).eval()
    assert classifier(make_batch().data, {})["noun"].shape == (4, 7)
    save_extractor(tmp_path / "imu.safetensors", classifier.encoder)
    model = make_recognizer(2)
    load_extractor(tmp_path / "imu.safetensors", model.encoder("imu"))
    clips = make_batch().data["imu"]
    assert torch.equal(model.encoder("imu")(clips), classifier.encoder(clips))
    with pytest.raises(KarmmaError, match="weights missing"):
        load_extractor(tmp_path / "imu.safetensors", model.encoder("rgb"))
