"""Extractor for skeletons: places, velocities and places seen from the parent joint, convolved over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from ...types import ModalitySpec
from .base import Encoder
from .motion import TemporalBlock

KINECT_PARENTS = (1, 1, 1, 2, 1, 4, 5, 6, 1, 8, 9, 10, 3, 12, 13, 14, 3, 16, 17, 18)


class SkeletonEncoder(Encoder):
    """Poses `(batch, frames, joints, 3)` to one token per four frames. Bones are added for Kinect's twenty joints."""

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        self.frames, joints, _ = spec.input_shape
        self.parents = list(KINECT_PARENTS) if joints == len(KINECT_PARENTS) else None
        features = joints * 3 * (3 if self.parents else 2)
        width = config.width
        self.in_norm = nn.BatchNorm1d(features)
        self.embed = nn.Conv1d(features, width, 1, bias=False)
        self.embed_norm = nn.BatchNorm1d(width)
        blocks = []
        for _ in range(2):
            blocks += [TemporalBlock(width, width, 5, 1, config.dropout) for _ in range(config.depth)]
            blocks.append(TemporalBlock(width, width, 5, 2, config.dropout))
        self.blocks = nn.Sequential(*blocks)
        self.tokens, self.width = -(-self.frames // 4), width
        self.out_norm = nn.LayerNorm(width)

    def forward(self, clips: Tensor) -> Tensor:
        velocity = functional.pad(clips[:, 1:] - clips[:, :-1], (0, 0, 0, 0, 1, 0)) * (self.frames / 8)
        parts = [clips, velocity]
        if self.parents:
            parts.append(clips - clips[:, :, self.parents])
        x = self.in_norm(torch.cat(parts, -1).flatten(2).transpose(1, 2))
        x = functional.relu(self.embed_norm(self.embed(x)))
        return self.out_norm(self.blocks(x).transpose(1, 2))
