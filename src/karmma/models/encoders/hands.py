"""Extractor for hands: their shape, where they are, how both change, and where one is from the other, convolved over time."""

from __future__ import annotations

from torch import Tensor

from ...config import EncoderConfig
from ...skeletons import HANDS
from ...types import ModalitySpec
from ..signals import hand_features
from .poses import PosesEncoder


class HandsEncoder(PosesEncoder):
    """Both hands `(batch, frames, 2, joints, 4)` to one token per four frames."""

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        frames, sides, joints, _ = spec.input_shape
        hand = HANDS[spec.skeleton]
        super().__init__(frames, 2 * sides * (3 * joints + 3 + len(hand.pairs[0])) + 3 + sides, config)
        self.hand = hand

    def describe(self, clips: Tensor) -> Tensor:
        return hand_features(clips, self.hand)
