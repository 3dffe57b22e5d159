"""Extractor for detections at paper size: a transformer over the boxes of each instant, then one over instants."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...config import EncoderConfig
from ...types import ModalitySpec
from ..fusion import FusionLayer
from .base import Encoder


class LayoutEncoder(Encoder):
    """Spatial-temporal layout transformer (after STLT, Radevski et al., BMVC 2021) on `(batch, T, boxes, features)`.

    `depth` layers let the boxes of an instant see one another through a summary token, twice as many layers then run over
    the summaries of all instants; tokens are one per instant. A slot whose score is 0 holds no box and is not attended to.
    """

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        self.tokens, _, features = spec.input_shape
        self.width = width = config.width
        ffn_dim = config.ffn_dim or 4 * width
        heads = next(count for count in range(max(width // 64, 1), 0, -1) if width % count == 0)
        self.embed = nn.Sequential(nn.Linear(features, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, width))
        self.summary = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.instants = nn.Parameter(torch.randn(1, self.tokens, width) * 0.02)
        self.spatial = nn.ModuleList(FusionLayer(width, heads, ffn_dim, config.dropout) for _ in range(config.depth))
        self.temporal = nn.ModuleList(FusionLayer(width, heads, ffn_dim, config.dropout) for _ in range(2 * config.depth))
        self.out_norm = nn.LayerNorm(width)

    def recomputable(self) -> Sequence[nn.Module]:
        return [*self.spatial, *self.temporal]

    def forward(self, clips: Tensor) -> Tensor:
        batch, instants = clips.shape[:2]
        boxes = self.embed(clips).flatten(0, 1)
        there = (clips[..., 4] > 0).flatten(0, 1)
        x = torch.cat([self.summary.expand(boxes.shape[0], -1, -1), boxes], 1)
        visible = torch.cat([there.new_ones(there.shape[0], 1), there], 1)
        for layer in self.spatial:
            x = layer(x, visible)
        x = x[:, 0].view(batch, instants, self.width) + self.instants
        for layer in self.temporal:
            x = layer(x, None)
        return self.out_norm(x)
