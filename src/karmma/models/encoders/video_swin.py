"""Video Swin Transformer (Liu et al., CVPR 2022) with the parameter names of torchvision's published weights.

Written here because torchvision cannot be imported beside a CPU build of torch; `scripts/compare_swin.py` compares the
two where it can. Weights that others publish: published_swin.py. Pictures are `(batch, channels, frames, height, width)`
inside, tokens channels-last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config import EncoderConfig
from ...types import KarmmaError, ModalitySpec
from ..pretrained import load_published, local_file
from .base import Encoder
from .published_swin import torchvision_names, window_frames
from .window_attention import BiasedAttention

Size = tuple[int, int, int]  # frames, height, width
MASKED = -1e4  # published: −100, whose exponential is a denormal number, with which CPUs reckon many times more slowly
SIDES = (7, 7)  # height and width of a window
PATCH: Size = (2, 4, 4)


@dataclass(frozen=True)
class SwinSize:
    """Depth of every stage, width of the first, attention heads of every stage, share of dropped residual paths, and how
    many frames a window has (after patches of two)."""

    depths: tuple[int, ...]
    width: int
    heads: tuple[int, ...]
    drop_path: float
    window_frames: int = 8

    @property
    def window(self) -> Size:
        return self.window_frames, *SIDES


SIZES = {
    "tiny": SwinSize((2, 2, 6, 2), 96, (3, 6, 12, 24), 0.1),
    "small": SwinSize((2, 2, 18, 2), 96, (3, 6, 12, 24), 0.1),
    "base": SwinSize((2, 2, 18, 2), 128, (4, 8, 16, 32), 0.1),
    "base_window16": SwinSize((2, 2, 18, 2), 128, (4, 8, 16, 32), 0.1, 16),  # Something-Something V2's; Omnivore's base
    "large": SwinSize((2, 2, 18, 2), 192, (6, 12, 24, 48), 0.1),  # Omnivore's
    "test": SwinSize((1, 1, 1, 1), 16, (1, 2, 2, 4), 0.0),  # no published weights
}


def fit_window(size: Size, window: Size, shift: Size) -> tuple[Size, Size]:
    """A window no larger than the map, and no shift along axes that one window covers."""
    fitted = tuple(min(length, edge) for length, edge in zip(size, window, strict=True))
    moved = tuple(0 if length <= edge else by for length, edge, by in zip(size, window, shift, strict=True))
    return cast(Size, fitted), cast(Size, moved)


def split_windows(x: Tensor, window: Size) -> Tensor:
    """`(batch, D, H, W, C)` to `(batch · windows, tokens, C)`."""
    x = x.unflatten(3, (-1, window[2])).unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(0, 3)


def join_windows(windows: Tensor, window: Size, size: Size) -> Tensor:
    """Inverse of split_windows for a map of `size`."""
    counts = [length // edge for length, edge in zip(size, window, strict=True)]
    x = windows.unflatten(1, window).unflatten(0, (-1, *counts))
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(5, 6).flatten(3, 4).flatten(1, 2)


def shift_sides(size: Size, window: Size, shift: Size, device: torch.device) -> tuple[Tensor, Tensor]:
    """Two sets of vectors `(windows, tokens, 2 · shifted axes)` whose products mask what the cyclic shift brought together.

    Along each axis a token lies before or after the seam. Products are 0 between tokens of one side and MASKED for every
    axis along which they lie on different sides: adding them to a few columns of queries and keys costs far less memory
    traffic than a mask for every pair of tokens.
    """
    ours, others = [], []
    for axis, by in enumerate(shift):
        if not by:
            continue
        behind = (torch.arange(size[axis], device=device) >= size[axis] - by).float()
        view = [1, 1, 1, 1, 1]
        view[1 + axis] = -1
        side = split_windows(behind.view(view).expand(1, *size, 1), window)
        ours += [1 - side, side]
        others += [MASKED * side, MASKED * (1 - side)]
    return torch.cat(ours, -1), torch.cat(others, -1)


def relative_positions(window: Size) -> Tensor:
    """Index into the bias table for every pair of tokens of a full window `(tokens, tokens)`."""
    places = torch.stack(torch.meshgrid(*[torch.arange(edge) for edge in window], indexing="ij")).flatten(1)
    steps = (places[:, :, None] - places[:, None]).permute(1, 2, 0) + torch.tensor([edge - 1 for edge in window])
    return (steps * torch.tensor([(2 * window[1] - 1) * (2 * window[2] - 1), 2 * window[2] - 1, 1])).sum(-1)


def with_sides(vectors: Tensor, sides: Tensor) -> Tensor:
    """Further columns for queries or keys `(batch · windows, heads, tokens, width)`."""
    batch = vectors.shape[0] // sides.shape[0]
    columns = sides[None, :, None].expand(batch, -1, vectors.shape[1], -1, -1).flatten(0, 1)
    return torch.cat([vectors, columns.to(vectors.dtype)], -1)


class WindowAttention(nn.Module):
    """Self-attention inside (shifted) windows with a learned bias per relative position."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, shifted: bool, window: Size) -> None:
        super().__init__()
        self.heads, self.head_scale, self.window = heads, (width // heads) ** -0.5, window
        self.shift: Size = cast(Size, tuple(edge // 2 for edge in window)) if shifted else (0, 0, 0)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        entries = math.prod(2 * edge - 1 for edge in window)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(entries, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_positions(window))

    def bias(self, window: Size) -> Tensor:
        """`(1, heads, tokens, tokens)`; a smaller window takes the first tokens of the full one, as published."""
        tokens = window[0] * window[1] * window[2]
        index = self.relative_position_index[:tokens, :tokens].flatten()
        return self.relative_position_bias_table.t().index_select(1, index).view(1, -1, tokens, tokens)

    def forward(self, x: Tensor) -> Tensor:
        size = cast(Size, tuple(x.shape[1:4]))
        window, shift = fit_window(size, self.window, self.shift)
        spare = [-length % edge for length, edge in zip(size, window, strict=True)]
        x = functional.pad(x, (0, 0, 0, spare[2], 0, spare[1], 0, spare[0]))
        padded = cast(Size, tuple(x.shape[1:4]))
        if any(shift):
            x = x.roll([-by for by in shift], (1, 2, 3))
        mixed = self.attend(split_windows(x, window), window, padded, shift)
        x = join_windows(mixed, window, padded)
        if any(shift):
            x = x.roll(shift, (1, 2, 3))
        return x[:, : size[0], : size[1], : size[2]]

    def attend(self, windows: Tensor, window: Size, size: Size, shift: Size) -> Tensor:
        query, key, value = self.qkv(windows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        sides = shift_sides(size, window, shift, windows.device) if any(shift) else None
        if torch.is_grad_enabled():
            mixed = self.attend_in_training(query, key, value, sides, window)
        else:
            bias = self.bias(window)
            if sides is not None:
                before = sides[0][..., ::2]  # the same mask as a sum over axes; no products that count as work
                mask = (before[:, :, None] != before[:, None]).any(-1).float() * MASKED
                bias = (bias + mask[:, None]).repeat(windows.shape[0] // mask.shape[0], 1, 1, 1)
            mixed = functional.scaled_dot_product_attention(query, key, value, bias.to(query.dtype))
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def attend_in_training(
        self, query: Tensor, key: Tensor, value: Tensor, sides: tuple[Tensor, Tensor] | None, window: Size
    ) -> Tensor:
        """Written out: no fused kernel gives the bias its gradient, and what PyTorch falls back to takes twice as long."""
        query, bias = query * self.head_scale, self.bias(window).to(query.dtype)
        if query.device.type == "cpu":
            mixed: Tensor = BiasedAttention.apply(query, key, value, bias, sides)
            return mixed
        if sides is not None:
            query, key = with_sides(query, sides[0]), with_sides(key, sides[1])
        return (query @ key.transpose(-2, -1) + bias).softmax(-1).to(value.dtype) @ value


class SwinBlock(nn.Module):
    """Window attention and a feed-forward network, each with a shortcut that training drops at random."""

    def __init__(self, width: int, heads: int, shifted: bool, drop_path: float, window: Size) -> None:
        super().__init__()
        self.drop_path, self.norm1 = drop_path, nn.LayerNorm(width)
        self.attn, self.norm2 = WindowAttention(width, heads, shifted, window), nn.LayerNorm(width)
        # Numbered like torchvision's: linear, GELU, dropout, linear, dropout.
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Identity(), nn.Linear(4 * width, width), nn.Identity()
        )  # fmt: skip

    def kept(self, x: Tensor) -> Tensor:
        """Stochastic depth per sample."""
        if not self.training or self.drop_path == 0:
            return x
        keep = torch.empty(len(x), 1, 1, 1, 1, device=x.device, dtype=x.dtype).bernoulli_(1 - self.drop_path)
        return x * (keep / (1 - self.drop_path))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.kept(self.attn(self.norm1(x)))
        return x + self.kept(self.mlp(self.norm2(x)))


class PatchMerging(nn.Module):
    """Four neighbours become one token of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction, self.norm = nn.Linear(4 * width, 2 * width, bias=False), nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        corners = [x[:, :, 0::2, 0::2], x[:, :, 1::2, 0::2], x[:, :, 0::2, 1::2], x[:, :, 1::2, 1::2]]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class PatchEmbedding(nn.Module):
    """Blocks of 2 × 4 × 4 pixels to tokens."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj, self.norm = nn.Conv3d(channels, width, PATCH, PATCH), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        spare = [-length % edge for length, edge in zip(x.shape[2:], PATCH, strict=True)]
        x = functional.pad(x, (0, spare[2], 0, spare[1], 0, spare[0]))
        return self.norm(self.proj(x).permute(0, 2, 3, 4, 1))


class VideoSwin(nn.Module):
    """The network up to its last map: `(batch, channels, T, H, W)` to `(batch, T/2, H/32, W/32, 8 · width)`."""

    def __init__(self, size: SwinSize, channels: int = 3) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(channels, size.width)
        total, number = max(sum(size.depths) - 1, 1), 0
        stages: list[nn.Module] = []
        for stage, (depth, heads) in enumerate(zip(size.depths, size.heads, strict=True)):
            width = size.width * 2**stage
            blocks = []
            for index in range(depth):
                blocks.append(SwinBlock(width, heads, index % 2 == 1, size.drop_path * number / total, size.window))
                number += 1
            stages.append(nn.Sequential(*blocks))
            if stage < len(size.depths) - 1:
                stages.append(PatchMerging(width))
        self.features = nn.Sequential(*stages)
        self.width = size.width * 2 ** (len(size.depths) - 1)
        self.norm = nn.LayerNorm(self.width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, clips: Tensor) -> Tensor:
        return self.norm(self.features(self.patch_embed(clips)))


class VideoSwinEncoder(Encoder):
    """Pictures over time `(batch, T, H, W, C)` to `tokens` tokens: the last map, averaged to that many places in order.

    `variant` is a key of SIZES. How the paper turns 784 tokens into 300 is open; here an adaptive average over the
    flattened map, time first (not from the paper).
    """

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        frames, height, width, channels = self.clip_shape(spec)
        if config.variant not in SIZES:
            raise KarmmaError(
                f"encoder video_swin for {spec.name}: variant {config.variant!r} is none of {', '.join(SIZES)}"
            )
        self.network = VideoSwin(SIZES[config.variant], channels)
        self.variant, self.weights = config.variant, config.weights
        places = -(-frames // PATCH[0]) * -(-height // 32) * -(-width // 32)
        self.tokens, self.width = config.tokens or places, self.network.width

    def load_start(self) -> None:
        """Put the published weights in, where the recipe names a file."""
        if self.weights is not None:
            load_published(self.network, local_file(self.weights), self.named)

    def named(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights under our names. Raises KarmmaError where they were trained with windows of another length."""
        named, ours = torchvision_names(weights), SIZES[self.variant].window_frames
        found = window_frames(named, *SIDES)
        if found not in (None, ours):
            raise KarmmaError(
                f"{self.weights} was trained with windows of {found} frames, but variant {self.variant!r} of this encoder "
                f"has windows of {ours}; {', '.join(f'{name} {size.window_frames}' for name, size in SIZES.items())}"
            )
        return named

    def clip_shape(self, spec: ModalitySpec) -> tuple[int, int, int, int]:
        """Frames, height, width and channels of what the network sees."""
        frames, height, width, channels = spec.input_shape
        return frames, height, width, channels

    def forward(self, clips: Tensor) -> Tensor:
        return self.pooled(clips.permute(0, 4, 1, 2, 3))

    def recomputable(self) -> Sequence[nn.Module]:
        return [module for module in self.network.modules() if isinstance(module, SwinBlock)]

    def pooled(self, clips: Tensor) -> Tensor:
        """Tokens of `(batch, channels, T, H, W)`."""
        tokens = self.network(clips).flatten(1, 3)
        if tokens.shape[1] == self.tokens:
            return tokens
        return functional.adaptive_avg_pool1d(tokens.transpose(1, 2), self.tokens).transpose(1, 2)


class SpectrogramSwinEncoder(VideoSwinEncoder):
    """Video Swin on sound: a log-mel picture `(batch, bands, frames)` as a film of 32 windows that move along time.

    The paper's teacher sees 3 × 32 × 224 × 224 for audio, too; how sound becomes that is open (not from the paper).
    """

    FRAMES, SIDE, SHARE = 32, 224, 0.5

    def clip_shape(self, spec: ModalitySpec) -> tuple[int, int, int, int]:
        return self.FRAMES, self.SIDE, self.SIDE, 3

    def forward(self, clips: Tensor) -> Tensor:
        length = max(round(clips.shape[2] * self.SHARE), 1)
        firsts = torch.linspace(0, clips.shape[2] - length, self.FRAMES).round().long().tolist()
        film = torch.stack([clips[:, :, first : first + length] for first in firsts], 1)
        film = functional.interpolate(film, (self.SIDE, self.SIDE), mode="bilinear", align_corners=False)
        return self.pooled(film.unsqueeze(1).expand(-1, 3, -1, -1, -1))
