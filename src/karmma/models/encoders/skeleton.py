"""Extractor for skeletons: places, velocities, bones and distances between joints, convolved over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from ...types import ModalitySpec
from ..signals import KINECT_JOINTS, KINECT_PAIRS, change, joint_distances
from .base import Encoder
from .motion import TemporalBlock
from .styles import StyleMixing

KINECT_PARENTS = (1, 1, 1, 2, 1, 4, 5, 6, 1, 8, 9, 10, 3, 12, 13, 14, 3, 16, 17, 18)
MIXED = 2  # blocks before which styles are mixed


class SkeletonEncoder(Encoder):
    """Poses `(batch, frames, joints, 3)` to one token per four frames.

    For Kinect's twenty joints there are bones, too, and distances between joints and how fast they change.
    """

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        frames, joints, _ = spec.input_shape
        self.parents = list(KINECT_PARENTS) if joints == KINECT_JOINTS else None
        features = joints * 3 * 3 + 2 * len(KINECT_PAIRS[0]) if self.parents else joints * 3 * 2
        width = config.width
        self.in_norm = nn.BatchNorm1d(features)
        self.embed = nn.Conv1d(features, width, 1, bias=False)
        self.embed_norm = nn.BatchNorm1d(width)
        self.styles = StyleMixing(config.mix_styles)
        blocks = []
        for _ in range(2):
            blocks += [TemporalBlock(width, width, 5, 1, config.dropout) for _ in range(config.depth)]
            blocks.append(TemporalBlock(width, width, 5, 2, config.dropout))
        self.blocks = nn.Sequential(*blocks)
        self.tokens, self.width = -(-frames // 4), width
        self.out_norm = nn.LayerNorm(width)

    def forward(self, clips: Tensor) -> Tensor:
        parts = [clips.flatten(2), change(clips.flatten(2))]
        if self.parents:
            distances = joint_distances(clips)
            parts += [(clips - clips[:, :, self.parents]).flatten(2), distances, change(distances)]
        x = self.in_norm(torch.cat(parts, -1).transpose(1, 2))
        x = functional.relu(self.embed_norm(self.embed(x)))
        for index, block in enumerate(self.blocks):
            x = block(self.styles(x) if index < MIXED else x)
        return self.out_norm(x.transpose(1, 2))
