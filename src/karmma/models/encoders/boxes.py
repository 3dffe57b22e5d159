"""Extractor for detections."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from ...types import ModalitySpec
from .base import Encoder


class BoxesEncoder(Encoder):
    """Boxes over time `(batch, T, boxes, features)`: each box embedded, pooled per frame, then convolved in time.

    A slot whose score is 0 holds no box and takes part in nothing.
    """

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        self.frames, _, features = spec.input_shape
        width = config.width
        self.embed = nn.Sequential(nn.Linear(features + 4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.mix = nn.Linear(2 * width, width)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, 3, 1, 1) for _ in range(config.depth + 1))
        self.tokens, self.width = self.frames, width
        self.out_norm = nn.LayerNorm(width)

    def forward(self, clips: Tensor) -> Tensor:
        left, top, right, bottom = clips[..., :4].unbind(-1)
        shape = torch.stack([left + right, top + bottom, right - left, bottom - top], -1)
        there = (clips[..., 4:5] > 0).to(clips.dtype)
        boxes = self.embed(torch.cat([clips, shape], -1)) * there
        mean = boxes.sum(2) / there.sum(2).clamp(min=1)
        x = self.mix(torch.cat([mean, boxes.amax(2)], -1)).transpose(1, 2)
        for convolution in self.convolutions:
            x = x + functional.relu(convolution(x))
        return self.out_norm(x.transpose(1, 2))
