"""The invariants of KARMMA's recognizer."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from karmma.config import EncoderConfig
from karmma.models.common_tokens import COMMON_TOKENS, CommonTokens
from karmma.models.encoders import make_encoder
from karmma.models.fusion import WRITTEN_OUT_TOKENS, attend
from karmma.models.rebuilding import Rebuilder, SharedSpecific
from karmma.types import KarmmaError, subsets_of

from ..conftest import LABEL_SIZES, SPECS, make_batch, make_recognizer

SWITCHES = [("tokens", "present", False), ("tokens", "all", False), ("skip", "present", False), ("tokens", "present", True),
            ("one_token", "present", False), ("one_token", "all", True), ("rebuilt", "present", False), ("rebuilt", "all", True),
            ("shared", "present", False), ("shared", "all", True), ("summed", "present", False), ("summed", "present", True),
            ]  # fmt: skip
SWITCHED = pytest.mark.parametrize(("absent", "average", "own_votes"), SWITCHES)
presence_masks = st.lists(st.lists(st.booleans(), min_size=4, max_size=4).filter(any), min_size=3, max_size=3)


def flags(rows: list[list[bool]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([row[i] for row in rows]) for i, name in enumerate(SPECS)}


@SWITCHED
@given(rows=presence_masks)
@settings(max_examples=15, deadline=None)
def test_content_of_absent_slots_changes_no_logit(absent: str, average: str, own_votes: bool, rows: list[list[bool]]) -> None:
    model, batch, present = make_recognizer(absent=absent, average=average, own_votes=own_votes), make_batch(3), flags(rows)
    clean = model(batch.data, present)
    spoiled = {name: values.clone() for name, values in batch.data.items()}
    for name, flag in present.items():
        spoiled[name][~flag] = torch.nan
    for head, values in model(spoiled, present).items():
        assert torch.equal(values, clean[head])
        assert values.isfinite().all()


@SWITCHED
@given(rows=presence_masks)
@settings(max_examples=15, deadline=None)
def test_logits_do_not_depend_on_batch_mates(absent: str, average: str, own_votes: bool, rows: list[list[bool]]) -> None:
    model, batch, present = make_recognizer(absent=absent, average=average, own_votes=own_votes), make_batch(3), flags(rows)
    together = model(batch.data, present)
    for row in range(3):
        alone = model(
            {n: v[row : row + 1] for n, v in batch.data.items()}, {n: f[row : row + 1] for n, f in present.items()}
        )
        for head in LABEL_SIZES:
            torch.testing.assert_close(alone[head][0], together[head][row], atol=2e-6, rtol=1e-5)


def test_an_absent_modality_costs_no_extractor_compute() -> None:
    model, batch = make_recognizer(), make_batch(4)
    present = dict(batch.present)
    present["rgb"] = torch.tensor([True, False, True, False])
    present["audio"] = torch.zeros(4, dtype=torch.bool)
    seen: dict[str, int] = {}
    for name in SPECS:
        encoder = model.encoder(name)
        original = encoder.forward

        def spy(clips: torch.Tensor, name: str = name, original: object = original) -> torch.Tensor:
            seen[name] = len(clips)
            return original(clips)  # type: ignore[operator]

        patch.object(encoder, "forward", spy).start()
    model(batch.data, present)
    patch.stopall()
    assert seen == {"rgb": 2, "imu": 4, "detections": 4}


@SWITCHED
def test_every_non_empty_subset_runs_and_absent_data_need_not_exist(absent: str, average: str, own_votes: bool) -> None:
    model, batch = make_recognizer(absent=absent, average=average, own_votes=own_votes), make_batch(2)
    for subset in subsets_of(tuple(SPECS)):
        logits = model({name: batch.data[name] for name in subset}, {name: batch.present[name] for name in subset})
        assert {head: tuple(values.shape) for head, values in logits.items()} == {"verb": (2, 5), "noun": (2, 7)}


def test_the_empty_subset_is_a_clear_error() -> None:
    model, batch = make_recognizer(), make_batch(2)
    nothing = {name: torch.zeros(2, dtype=torch.bool) for name in SPECS}
    with pytest.raises(ValueError, match="sample 0 of the batch has no modality at all"):
        model(batch.data, nothing)
    with pytest.raises(ValueError, match="at least one modality"):
        model({}, {})
    with pytest.raises(ValueError, match="unknown modality 'sonar'"):
        model(batch.data, {"sonar": torch.ones(2, dtype=torch.bool)})


def test_absent_modality_contributes_its_learned_tokens() -> None:
    """Paper, step 4: an absent modality still feeds t_modality + t_i to fusion."""
    model, batch = make_recognizer(absent="tokens"), make_batch(2)
    present = {**batch.present, "imu": torch.zeros(2, dtype=torch.bool)}
    before = model(batch.data, present)["verb"].clone()
    with torch.no_grad():
        model.embeddings["imu"].modality_token.normal_()  # type: ignore[operator]
    assert not torch.allclose(model(batch.data, present)["verb"], before)


def test_one_token_stands_for_all_of_an_absent_modality_and_for_nothing_that_is_there() -> None:
    model, batch = make_recognizer(absent="one_token"), make_batch(2)
    assert all(torch.equal(value, make_recognizer().state_dict()[name]) for name, value in model.state_dict().items()
               if "missing_token" not in name)  # fmt: skip
    present = {**batch.present, "imu": torch.tensor([False, True])}
    before = model(batch.data, present)["verb"].clone()
    embedding = model.embedding("imu")
    assert embedding.missing_token is not None
    with torch.no_grad():
        embedding.missing_token.normal_()
    tokens = embedding(torch.randn(1, *embedding.position_tokens.shape[1:]), torch.tensor([1]), 2)
    assert (tokens[0] == embedding.missing_token[0]).all() and not (tokens[1] == embedding.missing_token[0]).all()
    after = model(batch.data, present)["verb"]
    torch.testing.assert_close(after[1], before[1])
    assert not torch.allclose(after[0], before[0])


@pytest.mark.parametrize("absent", ["rebuilt", "shared"])
def test_what_others_tell_of_absent_modalities_is_added_to_their_tokens_alone(absent: str) -> None:
    model, batch = make_recognizer(absent=absent), make_batch(3)
    others = make_recognizer().state_dict()
    assert all(torch.equal(value, others[name]) for name, value in model.state_dict().items() if not name.startswith("rebuilder."))
    draw = {**batch.present, "imu": torch.tensor([False, True, False]), "rgb": torch.tensor([True, True, False])}
    before = model(batch.data, draw)["verb"].clone()
    answers, _, errors = model.rebuilding_answers(batch.data, batch.present, [draw, draw])
    torch.testing.assert_close(answers[1]["verb"], before)
    alone = batch.select(torch.tensor([2]))
    _, _, again = model.rebuilding_answers(alone.data, alone.present, [{name: flags[2:] for name, flags in draw.items()}])
    torch.testing.assert_close(again, errors[2:])
    assert model.rebuilder is not None
    with patch.object(model.rebuilder, "forward", lambda known, there: torch.randn(3, len(SPECS), model.config.dim)):
        after = model(batch.data, draw)["verb"]
    torch.testing.assert_close(after[1], before[1])
    assert (after - before)[[0, 2]].abs().amax(1).min() > 1e-4


def test_rebuilding_learns_from_dropped_modalities() -> None:
    model, batch = make_recognizer(absent="rebuilt"), make_batch(3)
    draw = {**batch.present, "imu": torch.tensor([False, True, False]), "rgb": torch.tensor([True, True, False])}
    _, _, errors = model.rebuilding_answers(batch.data, batch.present, [draw])
    assert errors[1] == 0 and (errors[[0, 2]] > 0.1).all()
    errors.sum().backward()
    assert isinstance(model.rebuilder, Rebuilder)
    assert model.rebuilder.mask.grad is not None and model.rebuilder.mask.grad.abs().sum() > 0


def test_shared_features_stand_in_and_are_drawn_together_while_own_ones_tell_their_modality() -> None:
    """ShaSpec: the mean of what is shared stands in; 0.1 × mean L1 over pairs + 0.02 × cross-entropy of whose the own features are."""
    network = SharedSpecific(("rgb", "imu", "audio"), 4)
    shared, own = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    there = torch.tensor([[True, False, True], [False, True, False]])
    known = torch.where(there[:, :, None], torch.cat([shared, own], -1), 0)
    standing = network(known, there)
    torch.testing.assert_close(standing, torch.stack([shared[0, [0, 2]].mean(0), shared[1, 1]])[:, None].expand(-1, 3, -1))
    errors = network.errors(known, torch.ones_like(there), there)
    apart = (shared[0, 0] - shared[0, 2]).abs().mean()
    whose = functional.cross_entropy(network.which(own[0, [0, 2]]), torch.tensor([0, 2]))
    torch.testing.assert_close(errors[0], 0.1 * apart + 0.02 * whose)
    torch.testing.assert_close(errors[1], 0.02 * functional.cross_entropy(network.which(own[1, 1:2]), torch.tensor([1])))
    fused, taken = network.taken("imu", torch.randn(2, 5, 4))
    assert fused.shape == (2, 5, 4) and taken.shape == (2, network.known_width)


def test_what_is_there_is_summed_in_common_tokens() -> None:
    """Dong et al. (UMI): each modality's tokens are weighed into common ones; a sample's are the sum of those it has."""
    model, batch = make_recognizer(absent="summed"), make_batch(2)
    others = make_recognizer().state_dict()
    assert all(torch.equal(value, others[name]) for name, value in model.state_dict().items() if not name.startswith("common."))
    tokens = {name: model.encoder(name)(batch.data[name]) for name in ("imu", "rgb")}
    parts = {name: model.common_tokens(name, values) for name, values in tokens.items()}
    present = {"imu": torch.tensor([True, True]), "rgb": torch.tensor([False, True])}
    expected = model.answer_common(torch.stack([parts["imu"][0], parts["imu"][1] + parts["rgb"][1]]))
    for head, values in model(batch.data, present).items():
        torch.testing.assert_close(values, expected[head])
    network = model.common["imu"]
    assert isinstance(network, CommonTokens)
    embedded = torch.randn(1, 5, model.config.dim)
    shares = network.weigh(network.norm(embedded)).softmax(1)
    torch.testing.assert_close(network(embedded)[0, 3], (shares[0, :, 3:4] * embedded[0]).sum(0))
    torch.testing.assert_close(shares.sum(1), torch.ones(1, COMMON_TOKENS))


def test_skipped_modality_contributes_nothing() -> None:
    model, batch = make_recognizer(absent="skip"), make_batch(2)
    present = {**batch.present, "imu": torch.tensor([False, True])}
    before = model(batch.data, present)["verb"].clone()
    with torch.no_grad():
        model.embeddings["imu"].modality_token.normal_()  # type: ignore[operator]
    after = model(batch.data, present)["verb"]
    torch.testing.assert_close(after[0], before[0])
    assert not torch.allclose(after[1], before[1])


def test_logits_are_the_average_of_cls_and_present_means() -> None:
    model = make_recognizer(average="present")
    fused = torch.randn(2, 1 + 3 + 2, 16)
    present = [torch.tensor([True, True]), torch.tensor([True, False])]
    logits = model.vote(fused, [3, 2], present)["noun"]
    votes = [fused[:, 0], fused[:, 1:4].mean(1), fused[:, 4:6].mean(1)]
    heads = [model.heads(vote)["noun"] for vote in votes]
    torch.testing.assert_close(logits[0], sum(head[0] for head in heads) / 3)
    torch.testing.assert_close(logits[1], (heads[0][1] + heads[1][1]) / 2)


def test_an_encoder_may_be_anyones_factory_by_dotted_path() -> None:
    encoder = make_encoder(SPECS["imu"], EncoderConfig("karmma.models.encoders.sequence:SequenceEncoder", 8))
    assert encoder(torch.randn(3, 20, 6)).shape == (3, encoder.tokens, encoder.width)
    with pytest.raises(KarmmaError, match=r"neither frames, .* nor a path"):
        make_encoder(SPECS["imu"], EncoderConfig("transformer"))
    with pytest.raises(KarmmaError, match="cannot be imported"):
        make_encoder(SPECS["imu"], EncoderConfig("nowhere.at.all:Encoder"))


@pytest.mark.parametrize("name", list(SPECS))
def test_encoders_keep_their_word_about_tokens_and_width(name: str) -> None:
    encoder = make_recognizer().encoder(name)
    assert encoder(make_batch(3).data[name]).shape == (3, encoder.tokens, encoder.width)


def test_boxes_with_score_zero_are_no_boxes() -> None:
    encoder, clips = make_recognizer().encoder("detections"), make_batch(1).data["detections"].clone()
    clips[:, :, 2, 4] = 0
    before = encoder(clips)
    clips[:, :, 2, :4] = 9.0
    torch.testing.assert_close(encoder(clips), before)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("tokens", [9, WRITTEN_OUT_TOKENS + 1])
def test_attention_and_its_gradient_are_those_of_the_definition_in_bf16(tokens: int, masked: bool) -> None:
    torch.manual_seed(0)
    query, key, value = exact = [torch.randn(2, 3, tokens, 16, requires_grad=True) for _ in range(3)]
    visible = torch.arange(tokens).expand(2, 1, 1, tokens) % 3 < 2 if masked else None
    query16, key16, value16 = rounded = [values.detach().bfloat16().requires_grad_() for values in exact]
    upstream = torch.randn(2, 3, tokens, 16)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, visible)
    expected.backward(upstream)
    given = attend(query16, key16, value16, visible, 0.0)
    given.backward(upstream.bfloat16())
    for found, known in [(given, expected), *((one.grad, other.grad) for one, other in zip(rounded, exact, strict=True))]:
        assert found is not None and known is not None
        assert (found.float() - known).norm() < 0.01 * known.norm()
    if masked:
        hidden = (torch.arange(tokens) % 3 == 2).nonzero().flatten()
        assert all(values.grad is not None and not values.grad[:, :, hidden].any() for values in rounded[1:])
