"""Extractor for silhouettes of a person: stacks of frames, early down-sampling, then time as a sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from ...types import KarmmaError, ModalitySpec
from .base import Encoder
from .residual import ResidualBlock


class ViewsEncoder(Encoder):
    """Views `(batch, frames, height, width, channels)` to one token per stack of frames (`stack`, two by default).

    A stack costs hardly more than one picture, so that many frames with large stacks see fast gestures at the price of few.
    The places of the last map (2 × 4, or grid × grid) are kept apart until they are projected: where an arm is matters.
    """

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        frames, height, width, channels = spec.input_shape
        if frames % config.stack:
            raise KarmmaError(f"encoder views for {spec.name}: {frames} frames cannot be stacked by {config.stack}")
        self.steps, self.stack = frames // config.stack, config.stack
        base = config.width
        self.stem = nn.Conv2d(self.stack * channels, base, 7, 4, 3, bias=False)
        self.stem_norm = nn.BatchNorm2d(base)
        blocks: list[nn.Module] = []
        for inputs, outputs, stride in ((base, base, 1), (base, 2 * base, 2), (2 * base, 4 * base, 2)):
            blocks.append(ResidualBlock(inputs, outputs, stride, self.steps))
            blocks += [ResidualBlock(outputs, outputs, 1, self.steps) for _ in range(config.depth - 1)]
        self.blocks = nn.Sequential(*blocks)
        self.places = (config.grid, config.grid * max(width // height, 1))
        self.tokens, self.width = self.steps, 8 * base
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Conv1d(4 * base * self.places[0] * self.places[1], self.width, 1)
        self.project_norm = nn.BatchNorm1d(self.width)
        self.mix = nn.Conv1d(self.width, self.width, 3, 1, 1)
        self.mix_norm = nn.BatchNorm1d(self.width)
        self.out_norm = nn.LayerNorm(self.width)

    def forward(self, clips: Tensor) -> Tensor:
        stacks = clips.permute(0, 1, 4, 2, 3).unflatten(1, (self.steps, self.stack)).flatten(2, 3).flatten(0, 1)
        stacks = stacks.contiguous(memory_format=torch.channels_last)
        x = self.blocks(functional.relu(self.stem_norm(self.stem(stacks))))
        x = functional.adaptive_avg_pool2d(x, self.places).flatten(1).unflatten(0, (-1, self.steps)).transpose(1, 2)
        x = functional.relu(self.project_norm(self.project(self.dropout(x))))
        x = x + functional.relu(self.mix_norm(self.mix(x)))
        return self.out_norm(x.transpose(1, 2))
