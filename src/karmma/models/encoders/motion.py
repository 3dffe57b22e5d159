"""Extractor for inertial series of whole actions: values, their change, and what no rotation of the sensor alters."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from ...types import ModalitySpec
from ..signals import inertial_signals
from .base import Encoder


class TemporalBlock(nn.Module):
    """Two 1-D convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm1 = nn.BatchNorm1d(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv1d(outputs, outputs, kernel, 1, kernel // 2, bias=False)
        self.norm2 = nn.BatchNorm1d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv1d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm1d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(functional.relu(self.norm1(self.conv1(x))))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class MotionEncoder(Encoder):
    """Accelerometer and gyroscope `(batch, samples, 6)` to one token per eight samples."""

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        samples, axes = spec.input_shape
        width = config.width
        self.in_norm = nn.BatchNorm1d(2 * axes + axes // 3)
        blocks = [TemporalBlock(2 * axes + axes // 3, width, 7, 2, config.dropout)]
        for _ in range(2):
            blocks += [TemporalBlock(width, width, 5, 1, config.dropout) for _ in range(config.depth)]
            blocks.append(TemporalBlock(width, width, 5, 2, config.dropout))
        self.blocks = nn.Sequential(*blocks)
        self.tokens, self.width = -(-samples // 8), width
        self.out_norm = nn.LayerNorm(width)

    def forward(self, clips: Tensor) -> Tensor:
        x = self.in_norm(inertial_signals(clips))
        return self.out_norm(self.blocks(x).transpose(1, 2))
