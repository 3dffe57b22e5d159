"""No extractor at all: features that somebody else has computed pass through."""

from __future__ import annotations

from torch import Tensor, nn

from ...config import EncoderConfig
from ...types import ModalitySpec
from .base import Encoder


class FeaturesEncoder(Encoder):
    """Precomputed tokens `(batch, tokens, width)`, normalised, because strangers' features come in any scale."""

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        self.tokens, self.width = spec.input_shape
        self.out_norm = nn.LayerNorm(self.width)

    def forward(self, clips: Tensor) -> Tensor:
        return self.out_norm(clips)
