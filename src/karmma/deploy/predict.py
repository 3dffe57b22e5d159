"""A loaded checkpoint that recognises with torch: from files, arrays, clips or live sensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..modalities import Modality, make_for_fixed_looks
from ..models.checkpoint import CheckpointInfo, load_checkpoint
from ..models.recognizer import RecognizerModel
from ..types import Batch
from .recognition import Arrays, Recognition


@dataclass(frozen=True)
class Recognizer(Recognition):
    """A model with its classes and preprocessing; `karmma.load(path)` makes one. Runs where the model lies."""

    model: RecognizerModel
    info: CheckpointInfo
    modalities_by_name: dict[str, Modality]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", self.info.labels)
        object.__setattr__(self, "specs", self.info.specs)
        object.__setattr__(self, "provenance", self.info.provenance)

    @staticmethod
    def load(path: str | Path) -> Recognizer:
        """Load a checkpoint directory. Raises KarmmaError if it is not one."""
        model, info = load_checkpoint(Path(path))
        return Recognizer(model, info, make_for_fixed_looks(info.modalities, f"{path}/config.json: modalities"))

    def run(self, inputs: Arrays, present: Mapping[str, NDArray[np.bool_]]) -> Arrays:
        device = next(self.model.parameters()).device
        data = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
        logits = self.logits(Batch(data, {name: torch.from_numpy(flags).to(device) for name, flags in present.items()}))
        return {head: values.float().cpu().numpy() for head, values in logits.items()}

    @torch.no_grad()
    def encode(self, modality: str, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        device = next(self.model.parameters()).device
        return np.asarray(self.model.extract(modality, torch.from_numpy(inputs).to(device)).float().cpu().numpy())

    @torch.no_grad()
    def fuse(self, tokens: Arrays, present: Mapping[str, NDArray[np.bool_]]) -> Arrays:
        device = next(self.model.parameters()).device
        features = {name: torch.from_numpy(values[present[name]]).to(device) for name, values in tokens.items()}
        flags = self.model.checked({name: torch.from_numpy(values).to(device) for name, values in present.items()})
        return {head: values.float().cpu().numpy() for head, values in self.model.fuse(features, flags).items()}

    def prepare(self, modality: str, stored: NDArray[Any]) -> NDArray[np.float32]:
        prepared = self.modalities_by_name[modality].transform(torch.from_numpy(stored)[None], None)[0]
        return np.ascontiguousarray(prepared.numpy(), np.float32)

    @torch.no_grad()
    def logits(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Logits per label set of a batch of model inputs."""
        return self.model(batch.data, batch.present)
