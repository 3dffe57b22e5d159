"""Small extractors' parts against plain definitions."""

from __future__ import annotations

import pytest
import torch

from karmma.config import EncoderConfig
from karmma.models.encoders import make_encoder
from karmma.models.encoders.residual import pick_places, shift_frames
from karmma.models.encoders.skeleton import SkeletonEncoder
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


def test_distances_between_joints_know_no_turn_of_the_body() -> None:
    spec = ModalitySpec("skeleton", (16, 20, 3), "frames joints xyz", "utd_mhad")
    encoder = SkeletonEncoder(spec, EncoderConfig("skeleton", width=8))
    poses = torch.randn(2, 16, 20, 3)
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    seen: list[torch.Tensor] = []
    encoder.in_norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(poses)
    encoder(poses @ turn)
    places, distances = slice(0, 180), slice(180, 270)
    assert not torch.allclose(seen[0][:, places], seen[1][:, places], atol=0.1)
    assert torch.allclose(seen[0][:, distances], seen[1][:, distances], atol=1e-4)
    assert torch.allclose(seen[0][:, 180], (poses[:, :, 0] - poses[:, :, 1]).norm(dim=-1), atol=1e-5)


@pytest.mark.parametrize("joints", [17, 20])
def test_skeletons_of_any_number_of_joints_are_read(joints: int) -> None:
    encoder = make_encoder(ModalitySpec("skeleton", (16, joints, 3), "frames joints xyz"), EncoderConfig("skeleton", width=8))
    assert encoder(torch.randn(2, 16, joints, 3)).shape == (2, 4, 8)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (1, 2)])
def test_a_shortcut_reads_what_a_convolution_with_strides_would_and_no_map_is_turned_round(strides: tuple[int, int]) -> None:
    """A gradient in another layout than the map it is added to made a training step of the extractors a sixth longer."""
    maps = torch.randn(2, 6, 9, 10).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(4, 6, 1, 1)
    expected = torch.nn.functional.conv2d(maps, weight, stride=strides)
    assert torch.allclose(torch.nn.functional.conv2d(pick_places(maps, strides), weight), expected, atol=1e-5)
    inside, gradients = maps.clone(), list[torch.Tensor]()
    inside.register_hook(gradients.append)
    pick_places(inside, strides).pow(2).sum().backward()
    assert gradients[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("kind", "shape"), [("spectrogram", (64, 125)), ("frames", (3, 64, 80, 3))])
def test_narrow_extractors_are_trained_on_two_threads(kind: str, shape: tuple[int, ...]) -> None:
    """Shortcuts with a stride ended the process in their backward pass where maps have channels last and 8 of them or fewer."""
    axes = {"spectrogram": "bands frames", "frames": "frames height width channels"}[kind]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for width in (4, 8, 12):
            encoder = make_encoder(ModalitySpec("some", shape, axes), EncoderConfig(kind, width=width))
            for batch in (1, 3, 5, 8) * 3:
                encoder(torch.randn(batch, *shape)).pow(2).mean().backward()
            assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())
    finally:
        torch.set_num_threads(threads)
