"""Extractor for skeletons: places, velocities, bones and distances between joints, convolved over time."""

from __future__ import annotations

import torch
from torch import Tensor

from ...config import EncoderConfig
from ...skeletons import LAYOUTS
from ...types import ModalitySpec
from ..signals import change, joint_distances
from .poses import PosesEncoder


class SkeletonEncoder(PosesEncoder):
    """Poses `(batch, frames, joints, 3)` to one token per four frames.

    Where it is known which joint is which there are bones, too, and distances between joints and how fast they change.
    """

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        frames, joints, _ = spec.input_shape
        layout = LAYOUTS[spec.skeleton] if spec.skeleton else None
        features = joints * 3 * 2 if layout is None else joints * 3 * 3 + 2 * len(layout.pairs[0])
        super().__init__(frames, features, config)
        self.layout = layout

    def describe(self, clips: Tensor) -> Tensor:
        parts = [clips.flatten(2), change(clips.flatten(2))]
        if self.layout is not None:
            distances = joint_distances(clips, self.layout)
            parts += [(clips - clips[:, :, list(self.layout.parents)]).flatten(2), distances, change(distances)]
        return torch.cat(parts, -1)
