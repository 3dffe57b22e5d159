"""Extractor for skeletons: places, velocities, bones and distances between joints, convolved over time."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from ...types import ModalitySpec
from .base import Encoder
from .motion import TemporalBlock

KINECT_PARENTS = (1, 1, 1, 2, 1, 4, 5, 6, 1, 8, 9, 10, 3, 12, 13, 14, 3, 16, 17, 18)
KINECT_ENDS = (0, 1, 2, 3, 5, 7, 9, 11, 15, 19)  # head, neck, spine, hip, elbows, hands, feet


class SkeletonEncoder(Encoder):
    """Poses `(batch, frames, joints, 3)` to one token per four frames.

    For Kinect's twenty joints there are bones, too, and how far head, trunk, elbows, hands and feet are from each other and
    how fast that changes, which no turn of the body alters (joint collection distances of DD-Net, Yang et al., 2019).
    """

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        self.frames, joints, _ = spec.input_shape
        self.parents = list(KINECT_PARENTS) if joints == len(KINECT_PARENTS) else None
        self.pairs = list(zip(*combinations(KINECT_ENDS, 2), strict=True)) if self.parents else []
        features = joints * 3 * 3 + 2 * len(self.pairs[0]) if self.parents else joints * 3 * 2
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
        parts = [clips.flatten(2), self.change(clips.flatten(2))]
        if self.parents:
            one, other = self.pairs
            distances = (clips[:, :, one] - clips[:, :, other]).norm(dim=-1)
            parts += [(clips - clips[:, :, self.parents]).flatten(2), distances, self.change(distances)]
        x = self.in_norm(torch.cat(parts, -1).transpose(1, 2))
        x = functional.relu(self.embed_norm(self.embed(x)))
        return self.out_norm(self.blocks(x).transpose(1, 2))

    def change(self, values: Tensor) -> Tensor:
        """Of values `(batch, frames, …)` from frame to frame, zero in the first; alike for any number of frames."""
        return functional.pad(values[:, 1:] - values[:, :-1], (0, 0, 1, 0)) * (self.frames / 8)
