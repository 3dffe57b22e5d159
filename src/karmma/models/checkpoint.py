"""Checkpoints a stranger can use: `model.safetensors` and `config.json` in a directory. Nothing in them is executed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import RecognizerConfig
from ..files import read_json, write_json
from ..trees import build, plain
from ..types import KarmmaError, LabelSpace, ModalitySpec, describe_model, read_description
from .recognizer import RecognizerModel
from .trial import MISFITS
from .weights import load_weights, save_weights

FORMAT = "karmma-checkpoint"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class CheckpointInfo:
    """All that is needed to use the weights: architecture, classes, preprocessing, where they come from.

    `modalities` holds each modality's settings (frames, size, mean, std, sample rate, …); pictures are RGB, float32.
    """

    recognizer: RecognizerConfig
    specs: dict[str, ModalitySpec]
    labels: LabelSpace
    modalities: dict[str, dict[str, Any]]
    provenance: dict[str, Any]

    @property
    def data_set(self) -> str:
        """By which name the data set was known that it was trained on."""
        return str(self.provenance.get("dataset", ""))


def save_checkpoint(directory: Path, model: RecognizerModel, info: CheckpointInfo) -> None:
    """Write a checkpoint directory; `config.json` is written last and makes it valid."""
    save_weights(model, directory / "model.safetensors")
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "recognizer": plain(info.recognizer),
        **describe_model(info.specs, info.labels),
        "modalities": info.modalities,
        "provenance": info.provenance,
    }
    write_json(directory / "config.json", content)


def read_info(directory: Path) -> CheckpointInfo:
    """Read `config.json`. Raises KarmmaError if it is missing or not one of ours."""
    path = directory / "config.json"
    if not path.is_file():
        raise KarmmaError(f"{directory} is not a checkpoint: no config.json in it")
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise KarmmaError(f"{path}: not a {FORMAT}")
    if content.get("version") != FORMAT_VERSION:
        raise KarmmaError(f"{path}: checkpoint version {content.get('version')}, this karmma reads {FORMAT_VERSION}")
    try:
        specs, labels = read_description(content)
        recognizer = build(RecognizerConfig, content["recognizer"], f"{path}: recognizer")
        return CheckpointInfo(recognizer, specs, labels, content["modalities"], content["provenance"])
    except (KeyError, TypeError, AttributeError) as error:
        raise KarmmaError(f"{path}: incomplete: {error!r}") from error


def load_checkpoint(directory: Path) -> tuple[RecognizerModel, CheckpointInfo]:
    """The model in eval mode on the CPU, and its info. Raises KarmmaError for anything that does not fit exactly."""
    info = read_info(directory)
    try:
        model = RecognizerModel(info.recognizer, info.specs, info.labels.sizes)
    except MISFITS as error:
        raise KarmmaError(f"{directory / 'config.json'}: describes no model: {' '.join(str(error).split())}") from error
    load_weights(model, directory / "model.safetensors")
    return model.eval(), info
