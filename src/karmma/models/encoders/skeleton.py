"""Extractor for skeletons: places, velocities, bones and distances between joints, convolved over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from ...skeletons import LAYOUTS
from ...types import ModalitySpec
from ..signals import change, joint_distances
from .base import Encoder
from .motion import TemporalBlock
from .styles import StyleMixing

MIXED = 2  # blocks before which styles are mixed


class SkeletonEncoder(Encoder):
    """Poses `(batch, frames, joints, 3)` to one token per four frames.

    Where it is known which joint is which there are bones, too, and distances between joints and how fast they change.
    """

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        frames, joints, _ = spec.input_shape
        self.layout = LAYOUTS[spec.skeleton] if spec.skeleton else None
        features = joints * 3 * 2 if self.layout is None else joints * 3 * 3 + 2 * len(self.layout.pairs[0])
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
        if self.layout is not None:
            distances = joint_distances(clips, self.layout)
            parts += [(clips - clips[:, :, list(self.layout.parents)]).flatten(2), distances, change(distances)]
        x = self.in_norm(torch.cat(parts, -1).transpose(1, 2))
        x = functional.relu(self.embed_norm(self.embed(x)))
        for index, block in enumerate(self.blocks):
            x = block(self.styles(x) if index < MIXED else x)
        return self.out_norm(x.transpose(1, 2))
