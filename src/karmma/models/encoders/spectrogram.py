"""Extractor for log-mel spectrograms."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from ...types import ModalitySpec
from .base import Encoder
from .residual import ResidualBlock


class SpectrogramEncoder(Encoder):
    """Log-mel pictures `(batch, bands, frames)`: a residual network; tokens are places in time and, coarsely, pitch."""

    TIME_TOKENS = 8

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        widths = [config.width, config.width * 2, config.width * 4, config.width * 6]
        self.stem = nn.Conv2d(1, widths[0], 5, 2, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.blocks = nn.ModuleList()
        for before, after in itertools.pairwise(widths):
            self.blocks.append(ResidualBlock(before, after, 2))
            self.blocks.extend(ResidualBlock(after, after, 1) for _ in range(config.depth - 1))
        self.grid, self.width, self.tokens = config.grid, widths[-1], config.grid * self.TIME_TOKENS
        self.out_norm = nn.LayerNorm(self.width)

    def token_shares(self) -> list[float]:
        return [(instant + 0.5) / self.TIME_TOKENS for _ in range(self.grid) for instant in range(self.TIME_TOKENS)]

    def forward(self, clips: Tensor) -> Tensor:
        x = self.stem(clips.unsqueeze(1)).contiguous(memory_format=torch.channels_last)  # or every convolution turns maps round
        x = functional.relu(self.stem_norm(x))
        for block in self.blocks:
            x = block(x)
        x = functional.adaptive_avg_pool2d(x, (self.grid, self.TIME_TOKENS))
        return self.out_norm(x.flatten(2).transpose(1, 2))
