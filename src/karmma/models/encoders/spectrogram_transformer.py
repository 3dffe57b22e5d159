"""Audio Spectrogram Transformer (Gong et al., 2021): overlapping patches of a log-mel picture through a transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...config import EncoderConfig
from ...types import ModalitySpec
from ..fusion import FusionLayer
from .base import Encoder

PATCH, STRIDE = 16, 10
HEAD_WIDTH = 64


class SpectrogramTransformerEncoder(Encoder):
    """`(batch, bands, frames)` to [CLS] and one token per patch. `width`, `depth` and `ffn_dim` size it."""

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        bands, frames = spec.input_shape
        self.rows, self.instants = (bands - PATCH) // STRIDE + 1, (frames - PATCH) // STRIDE + 1
        self.tokens, self.width = self.rows * self.instants + 1, config.width
        self.patches = nn.Conv2d(1, config.width, PATCH, STRIDE)
        self.cls = nn.Parameter(torch.randn(1, 1, config.width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, self.tokens, config.width) * 0.02)
        heads, ffn_dim = max(config.width // HEAD_WIDTH, 1), config.ffn_dim or 4 * config.width
        self.layers = nn.ModuleList(
            FusionLayer(config.width, heads, ffn_dim, config.dropout) for _ in range(config.depth)
        )  # fmt: skip
        self.out_norm = nn.LayerNorm(config.width)

    def token_shares(self) -> list[float]:
        patches = [(instant + 0.5) / self.instants for _ in range(self.rows) for instant in range(self.instants)]
        return [0.5, *patches]

    def recomputable(self) -> Sequence[nn.Module]:
        return list(self.layers)

    def forward(self, clips: Tensor) -> Tensor:
        patches = self.patches(clips.unsqueeze(1)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(clips.shape[0], -1, -1), patches], 1) + self.positions
        for layer in self.layers:
            tokens = layer(tokens, None)
        return self.out_norm(tokens)
