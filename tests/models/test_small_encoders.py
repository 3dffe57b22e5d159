"""Small extractors' parts against plain definitions."""

from __future__ import annotations

import pytest
import torch

from karmma.config import EncoderConfig
from karmma.models.encoders import make_encoder
from karmma.models.encoders.residual import shift_frames
from karmma.types import KarmmaError, ModalitySpec


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


def test_views_make_a_token_of_each_stack_and_every_frame_of_it_counts() -> None:
    spec = ModalitySpec("depth", (12, 16, 32, 1), "frames height width channels")
    encoder = make_encoder(spec, EncoderConfig("views", width=4, stack=4)).eval()
    clips = torch.rand(2, 12, 16, 32, 1)
    tokens = encoder(clips)
    assert tokens.shape == (2, 3, 32) and encoder.tokens == 3
    for frame in range(12):
        changed = clips.clone()
        changed[:, frame] += 1
        assert not torch.allclose(encoder(changed), tokens), frame


def test_frames_that_do_not_fill_stacks_are_refused() -> None:
    spec = ModalitySpec("depth", (10, 16, 32, 1), "frames height width channels")
    with pytest.raises(KarmmaError, match="10 frames cannot be stacked by 4"):
        make_encoder(spec, EncoderConfig("views", width=4, stack=4))
