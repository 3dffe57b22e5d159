"""Video Swin: windows, shapes, parameter names and sizes of the published networks; the paper's cost figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from karmma.config import EncoderConfig, RecognizerConfig
from karmma.evaluation.profile import count_recipe_gflops, measure_cost
from karmma.models.encoders import make_encoder
from karmma.models.encoders.video_swin import MASKED, SIZES, VideoSwin, fit_window, join_windows, shift_sides, split_windows
from karmma.models.encoders.window_attention import BiasedAttention
from karmma.types import ModalitySpec

# Parameters of torchvision's swin3d_t, _s, _b without their heads of 400 classes.
PUBLISHED_PARAMETERS = {"tiny": 28158070 - 307600, "small": 49816678 - 307600, "base": 88048984 - 410000}
PAPER_GFLOPS = {
    "student": {"rgb+flow+audio": 358.166719, "rgb+flow": 353.031127, "rgb+audio": 181.281226, "rgb": 176.378806,
                "flow": 176.38, "flow+audio": 181.28, "audio": 4.672219},
    "teacher": {"rgb+flow+audio": 1707.166449, "rgb+flow": 1137.010955, "rgb+audio": 1137.01, "flow+audio": 1137.01,
                "rgb": 567.961388, "flow": 567.96, "audio": 567.96},
}  # fmt: skip


@pytest.mark.parametrize("variant", list(PUBLISHED_PARAMETERS))
def test_sizes_and_names_are_those_of_the_published_weights(variant: str) -> None:
    with torch.device("meta"):
        network = VideoSwin(SIZES[variant])
    assert sum(parameter.numel() for parameter in network.parameters()) == PUBLISHED_PARAMETERS[variant]
    names = set(network.state_dict())
    block = "features.0.1."
    assert {
        "patch_embed.proj.weight", "patch_embed.norm.bias", "norm.weight", "features.1.reduction.weight", "features.1.norm.weight",
        block + "attn.qkv.bias", block + "attn.proj.weight", block + "attn.relative_position_bias_table",
        block + "attn.relative_position_index", block + "norm2.weight", block + "mlp.0.weight", block + "mlp.3.bias",
    } <= names  # fmt: skip
    assert network.state_dict()[block + "attn.relative_position_index"].shape == (392, 392)


def test_windows_come_apart_and_together_again() -> None:
    x = torch.randn(2, 4, 6, 9, 3)
    windows = split_windows(x, (2, 3, 3))
    assert windows.shape == (2 * 2 * 2 * 3, 18, 3)
    assert torch.equal(windows[0, 0], x[0, 0, 0, 0]) and torch.equal(windows[1, 0], x[0, 0, 0, 3])
    assert torch.equal(join_windows(windows, (2, 3, 3), (4, 6, 9)), x)


def test_small_maps_have_no_shift_and_tokens_see_only_their_own_side() -> None:
    assert fit_window((4, 7, 14), (8, 7, 7), (4, 3, 3)) == ((4, 7, 7), (0, 0, 3))
    ours, others = shift_sides((4, 7, 14), (4, 7, 7), (0, 0, 3), torch.device("cpu"))
    mask = (ours @ others.transpose(1, 2)).view(2, 4, 7, 7, 4, 7, 7)
    assert float(mask[0].abs().max()) == 0
    last = mask[1, 0, 0, :, 0, 0, :]
    assert torch.equal(last[:4, :4], torch.zeros(4, 4)) and float(last[:4, 4:].max()) == MASKED


def test_a_token_sees_as_far_as_its_window() -> None:
    torch.manual_seed(0)
    attention = VideoSwin(SIZES["test"]).features[0][0].attn.eval()  # type: ignore[index]
    x = torch.randn(1, 8, 14, 7, 16)
    other = x.clone()
    other[:, :, 7:] += 1
    with torch.no_grad():
        before, after = attention(x), attention(other)
    torch.testing.assert_close(before[:, :, :7], after[:, :, :7])
    assert not torch.allclose(before[:, :, 7:], after[:, :, 7:])


def test_training_and_inference_attend_alike() -> None:
    torch.manual_seed(0)
    network = VideoSwin(SIZES["test"]).eval()
    clip = torch.randn(2, 3, 16, 60, 68)
    with torch.no_grad():
        fused = network(clip)
    torch.testing.assert_close(network(clip).detach(), fused, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("windows", "heads"), [(1, 2), (8, 3), (2, 24)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_attention_in_pieces_has_the_values_and_gradients_of_plain_attention(
    windows: int, heads: int, dtype: torch.dtype, masked: bool
) -> None:
    torch.manual_seed(0)
    rows = [torch.randn(windows, heads, 7, width, dtype=torch.float64) for width in (5, 5, 4)]
    inputs = [*rows, torch.randn(1, heads, 7, 7, dtype=torch.float64)]
    sides, mask = None, torch.zeros(())
    if masked:  # clips of one window or two, of which the last has a seam after its fourth token
        behind = torch.zeros(min(windows, 2), 7, 1)
        behind[-1, 4:] = 1
        sides = torch.cat([1 - behind, behind], -1), MASKED * torch.cat([behind, 1 - behind], -1)
        mask = (sides[0] @ sides[1].transpose(1, 2)).repeat(windows // len(behind), 1, 1)[:, None]
        assert float(mask.min()) == MASKED and float(mask[-1, 0, 0, 0]) == 0

    def gradients(attend: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        leaves = [values.detach().to(dtype).requires_grad_() for values in inputs]
        mixed = attend(*leaves)
        return [mixed.double(), *(g.double() for g in torch.autograd.grad(mixed.double().square().sum(), leaves))]

    expected = gradients(lambda q, k, v, b: (q @ k.transpose(-2, -1) + b + mask).softmax(-1) @ v, torch.float64)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = gradients(lambda *leaves: BiasedAttention.apply(*leaves, sides), dtype)
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 0.15}[dtype]
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize("shape", [(8, 64, 64), (3, 40, 72)])
def test_the_encoder_gives_the_configured_tokens(shape: tuple[int, int, int]) -> None:
    spec = ModalitySpec("rgb", (*shape, 3), "frames height width channels")
    everything = make_encoder(spec, EncoderConfig("video_swin", variant="test"))
    places = -(-shape[0] // 2) * -(-shape[1] // 32) * -(-shape[2] // 32)
    assert (
        everything(torch.randn(2, *spec.input_shape)).shape == (2, places, 128) == (2, everything.tokens, everything.width)
    )
    pooled = make_encoder(spec, EncoderConfig("video_swin", variant="test", tokens=5))
    assert pooled(torch.randn(2, *spec.input_shape)).shape == (2, 5, 128)


def paper_size(role: str) -> tuple[RecognizerConfig, dict[str, ModalitySpec]]:
    variant = "tiny" if role == "student" else "base"
    pictures = ModalitySpec("rgb", (32, 224, 224, 3), "")
    swin = EncoderConfig("video_swin", variant=variant, tokens=300)
    if role == "teacher":
        names = ("rgb", "flow", "audio")
        config = RecognizerConfig(dict.fromkeys(names, swin), dim=768, layers=2, heads=12, ffn_dim=768, head_dim=1536)
        return config, dict.fromkeys(names, pictures)
    audio = EncoderConfig("spectrogram_transformer", width=192, depth=12, ffn_dim=1104)
    config = RecognizerConfig(
        {"rgb": swin, "flow": swin, "audio": audio}, dim=384, layers=1, heads=6, ffn_dim=384, head_dim=768
    )  # fmt: skip
    return config, {"rgb": pictures, "flow": pictures, "audio": ModalitySpec("audio", (128, 216), "")}


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_the_papers_size_costs_what_the_paper_says(role: str) -> None:
    from dataclasses import replace

    config, specs = paper_size(role)
    for subset, published in PAPER_GFLOPS[role].items():
        names = tuple(subset.split("+"))
        alone = replace(config, absent="skip")
        measured = count_recipe_gflops(alone, specs, {"verb": 97, "noun": 300}, names)
        assert measured == pytest.approx(published, rel=1e-4), subset


def test_longer_windows_cost_more_than_the_paper_says() -> None:
    from dataclasses import replace

    config, specs = paper_size("teacher")
    longer = {name: replace(encoder, variant="base_window16") for name, encoder in config.encoders.items()}
    measured = count_recipe_gflops(replace(config, absent="skip", encoders=longer), specs, {"verb": 97, "noun": 300}, ("rgb",))
    assert measured > 1.1 * PAPER_GFLOPS["teacher"]["rgb"]


def test_the_audio_student_stays_below_the_published_memory() -> None:
    config, specs = paper_size("student")
    cost = measure_cost(config, specs, {"verb": 97, "noun": 300}, ("audio",), torch.device("cpu"), repeats=1)
    assert cost.peak_megabytes is not None and cost.weights_megabytes < cost.peak_megabytes <= 100
    assert cost.latency_ms is not None and cost.latency_ms > 0 and cost.clips_per_second is not None
    assert cost.gflops < cost.gflops_with_absent_tokens
