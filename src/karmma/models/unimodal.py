"""Pre-training of one extractor: pooled tokens and a linear head per label set; and extractors on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from .encoders import Encoder
from .heads import PooledHeads
from .weights import load_weights, save_weights


class UnimodalClassifier(nn.Module):
    """An extractor whose tokens are pooled (mean and maximum) into linear heads; only its extractor is kept."""

    def __init__(self, modality: str, encoder: Encoder, label_sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.modalities = (modality,)
        self.encoder = encoder
        self.heads = PooledHeads(encoder.width, dict(label_sizes))

    def forward(self, data: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logits `(batch, classes)` per label set; every sample must have the modality."""
        logits: dict[str, Tensor] = self.heads(self.encoder(data[self.modalities[0]]))
        return logits


def save_extractor(path: Path, encoder: Encoder) -> None:
    """Write an extractor's weights as safetensors, atomically."""
    save_weights(encoder, path)


def load_extractor(path: Path, encoder: Encoder) -> Encoder:
    """Fill an extractor from a file, strictly. Raises KarmmaError naming the first weight that does not fit."""
    load_weights(encoder, path)
    return encoder
