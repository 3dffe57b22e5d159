"""Small extractors' parts against plain definitions."""

from __future__ import annotations

import torch

from karmma.models.encoders.residual import shift_frames


def test_shifted_channels_come_from_the_neighbouring_frames_and_nothing_comes_from_outside() -> None:
    frames, channels = 4, 16
    clips = torch.randn(2, frames, channels, 3, 5)

    shifted = shift_frames(clips.flatten(0, 1), frames).unflatten(0, (2, frames))

    assert torch.equal(shifted[:, 1:, :2], clips[:, :-1, :2])
    assert torch.equal(shifted[:, :-1, 2:4], clips[:, 1:, 2:4])
    assert torch.equal(shifted[:, :, 4:], clips[:, :, 4:])
    assert not shifted[:, 0, :2].any()
    assert not shifted[:, -1, 2:4].any()


def test_shifted_channels_lie_last_in_memory() -> None:
    x = torch.randn(8, 16, 6, 6)
    assert shift_frames(x, 4).is_contiguous(memory_format=torch.channels_last)
