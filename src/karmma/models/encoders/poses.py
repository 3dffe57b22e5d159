"""What extractors of tracked joints share: features of each moment, convolved over time."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from .base import Encoder
from .motion import TemporalBlock
from .styles import StyleMixing

MIXED = 2  # blocks before which styles are mixed


class PosesEncoder(Encoder):
    """Clips of so many `frames` to one token per four of them; `describe` says `features` numbers of each."""

    def __init__(self, frames: int, features: int, config: EncoderConfig) -> None:
        super().__init__()
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

    def describe(self, clips: Tensor) -> Tensor:
        """Of clips as the modality makes them `(batch, frames, features)`."""
        raise NotImplementedError

    def forward(self, clips: Tensor) -> Tensor:
        x = self.in_norm(self.describe(clips).transpose(1, 2))
        x = functional.relu(self.embed_norm(self.embed(x)))
        for index, block in enumerate(self.blocks):
            x = block(self.styles(x) if index < MIXED else x)
        return self.out_norm(x.transpose(1, 2))
