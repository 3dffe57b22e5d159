"""Extractor for sensor series (imu)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from ...types import ModalitySpec
from .base import Encoder


class SequenceEncoder(Encoder):
    """Sensor series `(batch, samples, axes)`: residual 1-D convolutions; eight tokens in time."""

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        _, axes = spec.input_shape
        width = config.width
        self.stem = nn.Conv1d(axes, width, 7, 2, 3, bias=False)
        self.stem_norm = nn.BatchNorm1d(width)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, 5, 1, 2, bias=False) for _ in range(2 * config.depth + 1))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in self.convolutions)
        self.tokens, self.width = 8, width
        self.out_norm = nn.LayerNorm(width)

    def forward(self, clips: Tensor) -> Tensor:
        x = functional.relu(self.stem_norm(self.stem(clips.transpose(1, 2))))
        for convolution, normalise in zip(self.convolutions, self.norms, strict=True):
            x = x + functional.relu(normalise(convolution(x)))
        return self.out_norm(functional.adaptive_avg_pool1d(x, self.tokens).transpose(1, 2))
