"""Residual convolutions on pictures, with or without neighbouring frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut; with `frames`, features of neighbouring frames are shifted in (TSM, 2019)."""

    def __init__(self, inputs: int, outputs: int, stride: int | tuple[int, int], frames: int = 1) -> None:
        super().__init__()
        self.frames = frames
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.strides = (stride, stride) if isinstance(stride, int) else stride
        self.shortcut = (
            nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs or self.strides != (1, 1) else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = shift_frames(x, self.frames) if self.frames > 1 else x
        y = functional.relu(self.norm1(self.conv1(y)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(pick_places(x, self.strides)))


def pick_places(x: Tensor, strides: tuple[int, int]) -> Tensor:
    """Every so manieth place of maps `(batch, C, H, W)`, what a 1×1 convolution with these strides would read.

    Not left to that convolution: with channels last and 8 of them or fewer, oneDNN's gradient of it writes outside its memory
    where several threads share it. Picked with channels last, so that the gradient has them last, too, and what it is added
    to need not be turned round.
    """
    if strides == (1, 1):
        return x
    return x.permute(0, 2, 3, 1)[:, :: strides[0], :: strides[1]].permute(0, 3, 1, 2)


def shift_frames(x: Tensor, frames: int) -> Tensor:
    """Move an eighth of the channels one frame forward and an eighth one back; `(batch · frames, C, H, W)`.

    Channels stay last in memory from one convolution to the next, which spares copies, and they are split, not sliced:
    the gradient of a slice fills a whole map with zeros.
    """
    fold = max(x.shape[1] // 8, 1)
    clips = x.permute(0, 2, 3, 1).unflatten(0, (-1, frames))
    later, earlier, rest = clips.split([fold, fold, x.shape[1] - 2 * fold], -1)
    nothing = torch.zeros_like(later[:, :1])
    before = torch.cat([nothing, later[:, :-1]], 1)
    after = torch.cat([earlier[:, 1:], nothing], 1)
    return torch.cat([before, after, rest], -1).flatten(0, 1).permute(0, 3, 1, 2)
