"""`karmma evaluate`: protocols P1 and P2 of one checkpoint on a data set."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from ..config import EvaluationConfig
from ..data.clips import ClipStore
from ..datasets import find_data_set
from ..evaluation.evaluate import evaluate, subset_logits
from ..modalities import make_modalities
from ..models.checkpoint import load_checkpoint
from ..progress import Progress
from ..training.fit import training_device


def evaluate_checkpoint(
    checkpoint: Path, root: Path, dataset: str, split: str, cache: Path | None, settings: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Percent per subset and dropout rate. Raises KarmmaError if the checkpoint knows other classes than the data."""
    model, info = load_checkpoint(checkpoint)
    kind = find_data_set(dataset)
    manifest = kind.load(root, kind.settings(settings or {}, "settings"))
    manifest.labels.require_same(info.labels, f"checkpoint {checkpoint}")
    modalities = make_modalities(info.modalities, f"{checkpoint}/config.json: modalities")
    with tempfile.TemporaryDirectory() as temporary:
        store = ClipStore((cache or Path(temporary)) / split, manifest.split(split), modalities)
        with Progress(f"read.{split}") as progress:
            store.write(on_done=progress.update)
        with Progress("evaluate") as progress:
            logits = subset_logits(model, store, device=training_device(), on_done=progress.update)
        protocol = EvaluationConfig()
        return dataclasses.asdict(evaluate(logits, protocol.sweep, protocol.sweep_draws))
