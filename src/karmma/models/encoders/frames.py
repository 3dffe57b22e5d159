"""Extractor for pictures over time (rgb, flow, depth)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from ...types import ModalitySpec
from .base import Encoder
from .residual import ResidualBlock


class FramesEncoder(Encoder):
    """Pictures over time `(batch, T, H, W, C)`: a residual network per frame with temporal shift.

    Tokens are grid × grid places of every other frame.
    """

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        self.frames, _, _, channels = spec.input_shape
        widths = [config.width, config.width, config.width * 2, config.width * 3]
        self.stem = nn.Conv2d(channels, widths[0], 7, 4, 3, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.blocks = nn.ModuleList()
        for stride, before, after in zip((1, 2, 2), widths[:-1], widths[1:], strict=True):
            self.blocks.append(ResidualBlock(before, after, stride, self.frames))
            self.blocks.extend(ResidualBlock(after, after, 1, self.frames) for _ in range(config.depth - 1))
        self.grid, self.width = config.grid, widths[-1]
        self.tokens = max(self.frames // 2, 1) * config.grid**2
        self.out_norm = nn.LayerNorm(self.width)

    def token_shares(self) -> list[float]:
        instants, places = self.tokens // self.grid**2, self.grid**2
        return [(instant + 0.5) / instants for instant in range(instants) for _ in range(places)]

    def forward(self, clips: Tensor) -> Tensor:
        x = clips.flatten(0, 1).permute(0, 3, 1, 2)
        x = functional.relu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        x = functional.adaptive_avg_pool2d(x, self.grid).unflatten(0, (-1, self.frames))
        pairs = x[:, : self.tokens // self.grid**2 * 2].unflatten(1, (-1, 2)).mean(2) if self.frames > 1 else x
        return self.out_norm(pairs.permute(0, 1, 3, 4, 2).flatten(1, 3))
