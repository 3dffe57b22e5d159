"""Random kernels: what they measure, and how their votes and those of own heads join a recognizer's, whole, in parts, as graphs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from karmma.config import EncoderConfig, KernelsConfig
from karmma.evaluation.profile import measure_cost
from karmma.models.encoders import make_encoder
from karmma.models.encoders.styles import StyleMixing
from karmma.models.graphs import EncoderGraph, FusionGraph, SubsetFusionGraph
from karmma.models.random_kernels import RandomKernels, dilations, parts_of
from karmma.models.recognizer import RecognizerModel
from karmma.models.signals import OF_JOINTS, SIGNALS, signals
from karmma.types import KarmmaError, ModalitySpec, subsets_of

from ..conftest import TINY_RECOGNIZER

SPECS = {
    "imu": ModalitySpec("imu", (20, 6), "samples axes"),
    "audio": ModalitySpec("audio", (16, 24), "mel-bands frames"),
    "rgb": ModalitySpec("rgb", (4, 16, 16, 3), "frames height width channels"),
}
SIZES = {"verb": 5, "noun": 7}
CONFIG = KernelsConfig(count=6, sharpness=2.0)


def filled(kernels: RandomKernels, seed: int = 0) -> RandomKernels:
    """Kernels with a rule, as if fitted."""
    generator = torch.Generator().manual_seed(seed)
    kernels.draw(generator)
    kernels.mean.normal_(generator=generator)
    kernels.weight.normal_(generator=generator)
    kernels.offset.normal_(generator=generator)
    return kernels


def make_voting(absent: str = "tokens", own_votes: bool = False) -> RecognizerModel:
    torch.manual_seed(0)
    config = replace(TINY_RECOGNIZER, encoders={name: TINY_RECOGNIZER.encoders[name] for name in SPECS}, kernels=CONFIG)
    config = replace(config, absent=absent, own_votes=own_votes)  # type: ignore[arg-type]
    model = RecognizerModel(config, SPECS, SIZES).eval()
    for number, kernels in enumerate(model.kernels.values()):
        assert isinstance(kernels, RandomKernels)
        filled(kernels, number)
    return model


def clips_of(count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(count, *spec.input_shape, generator=generator) for name, spec in SPECS.items()}


def flags_of(subsets: list[tuple[str, ...]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([name in subset for subset in subsets]) for name in SPECS}


def test_kernels_reach_as_far_as_a_clip_is_long() -> None:
    assert [dilations(steps) for steps in (3, 8, 16, 32, 48, 128)] == [
        (1,), (1,), (1,), (1, 2, 3), (1, 2, 4, 5), (1, 2, 4, 8, 15),
    ]  # fmt: skip
    assert parts_of(3) == [(0, 1), (1, 2), (2, 3)] and parts_of(32) == [(0, 11), (11, 21), (21, 32)]


FEW, MANY = SPECS["imu"], ModalitySpec("skeleton", (20, 20, 3), "frames joints xyz")


@pytest.mark.parametrize("spec", [FEW, MANY])
def test_responses_are_those_of_the_definition(spec: ModalitySpec) -> None:
    kernels = filled(RandomKernels(spec, CONFIG, 4))
    clips = torch.randn(2, *spec.input_shape, generator=torch.Generator().manual_seed(1))
    assert kernels.is_spread == (spec is FEW)
    found = kernels.responses(clips)
    x = torch.nn.functional.pad((signals(spec, clips) - kernels.mean) / kernels.scale, (20, 20))
    places = kernels.inputs.view(-1, 3)
    assert kernels.dilations == (1, 2) and kernels.each == 3 and len({tuple(row.tolist()) for row in places}) > 1
    for index, dilation in enumerate(kernels.dilations):
        for number in range(3):
            kernel = index * 3 + number
            values = torch.zeros(2, 20)
            for step in range(20):
                for tap in range(9):
                    at = 20 + step + (tap - 4) * dilation
                    values[:, step] += x[:, places[kernel], at] @ kernels.taps[index][number, :, tap]
            values += kernels.bias[index][number]
            block = found[:, index * 15 : (index + 1) * 15].unflatten(1, (5, 3))[:, :, number]
            above = (values > 0).float()
            expected = [above.mean(1), values.amax(1), *(above[:, a:b].mean(1) for a, b in ((0, 7), (7, 13), (13, 20)))]
            torch.testing.assert_close(block, torch.stack(expected, 1))
    torch.testing.assert_close(torch.cat(list(kernels.taps)).sum(-1), torch.zeros(6, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("spec", [FEW, MANY])
def test_a_checkpoint_holds_the_taps_alone_and_is_enough(spec: ModalitySpec) -> None:
    kernels = filled(RandomKernels(spec, CONFIG, 4))
    state = kernels.state_dict()
    assert not any(key.startswith("spread") for key in state) and {"taps.0", "taps.1", "inputs"} <= set(state)
    again = RandomKernels(spec, CONFIG, 4)
    again.load_state_dict(state)
    clips = torch.randn(2, *spec.input_shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again(clips), kernels(clips)) and kernels(clips).abs().sum() > 0


def test_votes_add_their_mean_over_what_is_present() -> None:
    model, clips = make_voting(), clips_of(7)
    subsets = subsets_of(tuple(SPECS))
    voting = model(clips, flags_of(subsets))
    votes = {name: model.kernels[name](clips[name]) for name in SPECS}
    model.kernels.clear()
    silent = model(clips, flags_of(subsets))
    for row, subset in enumerate(subsets):
        mean = torch.stack([votes[name][row] for name in subset]).mean(0)
        for head, part in zip(SIZES, mean.split(list(SIZES.values())), strict=True):
            torch.testing.assert_close(voting[head][row] - silent[head][row], part, atol=1e-4, rtol=1e-4)


def test_what_modalities_say_alone_counts_as_much_as_what_is_fused() -> None:
    model, clips = make_voting(own_votes=True), clips_of(7)
    subsets = subsets_of(tuple(SPECS))
    flags = flags_of(subsets)
    (voting,), alone = model.answers(clips, flags, [flags])
    own = {name: model.own_heads[name](model.encoder(name)(clips[name])) for name in SPECS}
    kernels = {name: model.by_head(model.kernels[name](clips[name])) for name in SPECS}
    model.own_heads.clear()
    _, theirs = model.answers(clips, flags, [flags])
    model.kernels.clear()
    (silent,), nothing = model.answers(clips, flags, [flags])
    assert not nothing
    for head in SIZES:
        for row, subset in enumerate(subsets):
            said = torch.stack([own[name][head][row] + kernels[name][head][row] for name in subset]).mean(0)
            torch.testing.assert_close(voting[head][row], (silent[head][row] + said) / 2, atol=1e-4, rtol=1e-4)
        rows = flags_of(subsets)["imu"].nonzero().flatten()
        torch.testing.assert_close(alone["imu"][head], (own["imu"][head] + kernels["imu"][head])[rows], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(theirs["imu"][head], kernels["imu"][head][rows], atol=1e-4, rtol=1e-4)


def test_kernels_are_counted_in_what_a_student_costs() -> None:
    config = replace(TINY_RECOGNIZER, kernels=KernelsConfig(count=100))
    with_kernels, without = (
        measure_cost(some, SPECS, SIZES, ("imu",), torch.device("cpu"), repeats=0) for some in (config, replace(config, kernels=None))
    )
    # constants: taps, biases, weights and offsets; a dilation's convolutions of all 14 signals and the rule, two per multiply-add
    assert with_kernels.parameters - without.parameters == 100 * 3 * 9 + 100 + 12 * 500 + 12
    assert with_kernels.gflops - without.gflops == pytest.approx(2 * (100 * 14 * 9 * 20 + 12 * 500) / 1e9)


def test_nobody_votes_while_training_and_nothing_of_them_is_trained() -> None:
    model, clips = make_voting().train(), clips_of(3)
    assert all(model.extract(name, clips[name]).shape[1] == model.encoder(name).tokens for name in SPECS)
    assert not any(value.requires_grad for name, value in model.named_parameters() if name.startswith("kernels"))


def test_votes_of_more_classes_than_a_token_is_wide_fill_several_rows() -> None:
    model, clips = make_voting(), clips_of(3)
    features = {name: model.extract(name, values) for name, values in clips.items()}
    for name, values in features.items():
        encoder = model.encoder(name)
        assert values.shape[1:] == (encoder.tokens + -(-12 // encoder.width), encoder.width)
    tokens, votes = model.split_votes(features)
    torch.testing.assert_close(votes["imu"], model.kernels["imu"](clips["imu"]))
    torch.testing.assert_close(tokens["imu"], model.encoder("imu")(clips["imu"]))


@pytest.mark.parametrize("own_votes", [False, True])
@pytest.mark.parametrize("absent", ["tokens", "skip"])
def test_graphs_vote_as_the_recognizer_does(absent: str, own_votes: bool) -> None:
    model, clips = make_voting(absent, own_votes), clips_of(7)
    subsets = subsets_of(tuple(SPECS))
    flags = flags_of(subsets)
    expected = model(clips, flags)
    presence = torch.stack(list(flags.values()), 1).float()
    parts = [EncoderGraph(model, name)(clips[name]) for name in SPECS]
    for head, found in zip(SIZES, FusionGraph(model)(*parts, presence), strict=True):
        torch.testing.assert_close(found, expected[head], atol=1e-4, rtol=1e-4)
    for row, subset in enumerate(subsets):
        extracted = [part[row : row + 1] for name, part in zip(SPECS, parts, strict=True) if name in subset]
        alone = SubsetFusionGraph(model, subset)(*extracted)
        torch.testing.assert_close(alone[0][0], expected["verb"][row], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("samples axes", (20, 6)), ("frames joints xyz", (16, 20, 3)), ("frames joints xyz", (16, 17, 3)),
        ("frames height width channels", (4, 64, 128, 1)), ("frames height width channels", (4, 6, 7, 3)),
        ("frames height width xy", (4, 40, 50, 2)), ("mel-bands frames", (64, 30)), ("frames boxes features", (4, 3, 8)),
        ("moments width", (5, 12)),
    ],
)  # fmt: skip
def test_every_layout_becomes_signals_whose_steps_follow_time(layout: str, shape: tuple[int, ...]) -> None:
    clips = torch.rand(2, *shape)
    found = signals(ModalitySpec("any", shape, layout), clips)
    time = 2 if layout == "mel-bands frames" else 1
    assert found.shape[2] == clips.shape[time] and layout in {*SIGNALS, *OF_JOINTS}
    later = clips.clone()
    later.select(time, -1).add_(1.0)
    changed = (signals(ModalitySpec("any", shape, layout), later) != found).any(1)
    assert changed[:, -1].all() and not changed[:, :-2].any()


def test_unknown_layouts_and_clips_too_short_are_refused() -> None:
    with pytest.raises(KarmmaError, match="no signals over time are known for lidar"):
        RandomKernels(ModalitySpec("lidar", (9, 9), "points xyz"), CONFIG, 3)
    with pytest.raises(KarmmaError, match="need clips of 3 steps or more; rgb has 2"):
        RandomKernels(ModalitySpec("rgb", (2, 16, 16, 3), "frames height width channels"), CONFIG, 3)
    with pytest.raises(ValueError, match="kernels: .* absent: zeros"):
        replace(TINY_RECOGNIZER, kernels=CONFIG, absent="zeros")
    with pytest.raises(ValueError, match="own_votes: .* absent: zeros"):
        replace(TINY_RECOGNIZER, own_votes=True, absent="zeros")


def test_styles_are_exchanged_while_training_only_and_what_happens_in_time_stays() -> None:
    torch.manual_seed(0)
    mixing, x = StyleMixing(1.0), torch.randn(8, 5, 30) * torch.arange(1, 9)[:, None, None] + torch.arange(8)[:, None, None]
    mixed = mixing.train()(x)

    def styleless(values: torch.Tensor) -> torch.Tensor:
        return (values - values.mean(-1, keepdim=True)) / values.std(-1, keepdim=True)

    torch.testing.assert_close(styleless(mixed), styleless(x), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(mixed.std(-1), x.std(-1), rtol=0.1)
    assert mixed.std(-1).max() <= x.std(-1).max() + 1e-3 and mixed.mean(-1).min() >= x.mean(-1).min() - 1e-3
    assert mixing.eval()(x) is x and StyleMixing(0.0).train()(x) is x
    shares = [StyleMixing(0.5).train()(x) is x for _ in range(200)]
    assert 70 < sum(shares) < 130


def test_only_skeletons_mix_styles() -> None:
    spec = ModalitySpec("imu", (20, 6), "samples axes")
    with pytest.raises(KarmmaError, match="mix_styles"):
        make_encoder(spec, EncoderConfig("motion", 8, mix_styles=0.5))
