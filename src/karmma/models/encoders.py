"""Small feature extractors: a clip of one modality becomes tokens `(batch, tokens, width)`.

`ENCODERS` maps a recipe's `kind` to a factory `(spec, config) -> Encoder`; a dotted path names anyone else's factory.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import EncoderConfig
from ..types import KarmmaError, ModalitySpec


class Encoder(nn.Module):
    """Any module with `tokens` and `width` whose forward maps `(batch, *spec.input_shape)` to `(batch, tokens, width)`."""

    tokens: int
    width: int


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut; with `frames`, features of neighbouring frames are shifted in (TSM, 2019)."""

    def __init__(self, inputs: int, outputs: int, stride: int | tuple[int, int], frames: int = 1) -> None:
        super().__init__()
        self.frames = frames
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs or stride != 1 else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = shift_frames(x, self.frames) if self.frames > 1 else x
        y = functional.relu(self.norm1(self.conv1(y)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def shift_frames(x: Tensor, frames: int) -> Tensor:
    """Move an eighth of the channels one frame forward and an eighth one back; `(batch · frames, C, H, W)`."""
    fold = max(x.shape[1] // 8, 1)
    clips = x.unflatten(0, (-1, frames))
    before = functional.pad(clips[:, :-1, :fold], (0, 0, 0, 0, 0, 0, 1, 0))
    after = functional.pad(clips[:, 1:, fold : 2 * fold], (0, 0, 0, 0, 0, 0, 0, 1))
    return torch.cat([before, after, clips[:, :, 2 * fold :]], 2).flatten(0, 1)


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

    def forward(self, clips: Tensor) -> Tensor:
        x = clips.flatten(0, 1).permute(0, 3, 1, 2)
        x = functional.relu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        x = functional.adaptive_avg_pool2d(x, self.grid).unflatten(0, (-1, self.frames))
        pairs = x[:, : self.tokens // self.grid**2 * 2].unflatten(1, (-1, 2)).mean(2) if self.frames > 1 else x
        return self.out_norm(pairs.permute(0, 1, 3, 4, 2).flatten(1, 3))


class SpectrogramEncoder(Encoder):
    """Log-mel pictures `(batch, bands, frames)`: a residual network; tokens are places in time and, coarsely, pitch."""

    TIME_TOKENS = 8

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        widths = [config.width, config.width * 2, config.width * 4, config.width * 6]
        self.stem = nn.Conv2d(1, widths[0], 5, 2, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.blocks = nn.ModuleList()
        for before, after in itertools.pairwise(widths):
            self.blocks.append(ResidualBlock(before, after, 2))
            self.blocks.extend(ResidualBlock(after, after, 1) for _ in range(config.depth - 1))
        self.grid, self.width, self.tokens = config.grid, widths[-1], config.grid * self.TIME_TOKENS
        self.out_norm = nn.LayerNorm(self.width)

    def forward(self, clips: Tensor) -> Tensor:
        x = functional.relu(self.stem_norm(self.stem(clips.unsqueeze(1))))
        for block in self.blocks:
            x = block(x)
        x = functional.adaptive_avg_pool2d(x, (self.grid, self.TIME_TOKENS))
        return self.out_norm(x.flatten(2).transpose(1, 2))


class SequenceEncoder(Encoder):
    """Sensor series `(batch, samples, axes)`: residual 1-D convolutions; eight tokens in time."""

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        _, axes = spec.input_shape
        width = config.width
        self.stem = nn.Conv1d(axes, width, 7, 2, 3, bias=False)
        self.stem_norm = nn.BatchNorm1d(width)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, 5, 1, 2, bias=False) for _ in range(2 * config.depth + 1))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in self.convolutions)
        self.tokens, self.width = 8, width
        self.out_norm = nn.LayerNorm(width)

    def forward(self, clips: Tensor) -> Tensor:
        x = functional.relu(self.stem_norm(self.stem(clips.transpose(1, 2))))
        for convolution, normalise in zip(self.convolutions, self.norms, strict=True):
            x = x + functional.relu(normalise(convolution(x)))
        return self.out_norm(functional.adaptive_avg_pool1d(x, self.tokens).transpose(1, 2))


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


ENCODERS: dict[str, Callable[[ModalitySpec, EncoderConfig], Encoder]] = {
    "frames": FramesEncoder,
    "spectrogram": SpectrogramEncoder,
    "sequence": SequenceEncoder,
    "boxes": BoxesEncoder,
}


def make_encoder(spec: ModalitySpec, config: EncoderConfig) -> Encoder:
    """The extractor a recipe names. Raises KarmmaError for an unknown kind or an unimportable path."""
    if config.kind in ENCODERS:
        return ENCODERS[config.kind](spec, config)
    module, separator, attribute = config.kind.partition(":")
    if not separator:
        raise KarmmaError(f"encoder kind {config.kind!r} is neither {', '.join(ENCODERS)} nor a path package.module:factory")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise KarmmaError(f"encoder kind {config.kind!r} cannot be imported: {error}") from error
    encoder: Encoder = factory(spec, config)
    return encoder
