"""A frozen teacher that has looked beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from karmma.data.loading import TrainingBatch
from karmma.data.tokens import TokenStore
from karmma.models.recognizer import Logits, RecognizerModel
from karmma.training.teachers import AnswersAlone, CachedTeacher
from karmma.types import Batch
from tests.conftest import make_recognizer

SEGMENTS, VIEWS = 70, 3


@pytest.fixture
def model() -> RecognizerModel:
    return make_recognizer(seed=9)


@pytest.fixture
def tokens(model: RecognizerModel, tmp_path: Path) -> TokenStore:
    """A cache of random tokens in two shards."""
    random = np.random.default_rng(0)
    for number, first in enumerate((0, 64)):
        count, folder = min(64, SEGMENTS - first), tmp_path / f"{number:06d}"
        folder.mkdir()
        for name in model.modalities:
            encoder = model.encoder(name)
            shape = (VIEWS, count, encoder.tokens, encoder.width)
            np.save(folder / f"{name}.npy", random.normal(size=shape).astype(np.float16))
        np.save(folder / "present.npy", np.ones((count, len(model.modalities)), bool))
    return TokenStore(tmp_path, 64)


def batch_of(tokens: TokenStore, looks: list[tuple[int, int]]) -> TrainingBatch:
    segments, views = np.array(looks).T
    present = dict.fromkeys(tokens.shapes, torch.ones(len(looks), dtype=torch.bool))
    return TrainingBatch(Batch({}, present), tokens.looks(segments, views), 0, present, (), torch.tensor(looks))


def alone(name: str, names: tuple[str, ...], count: int) -> dict[str, Tensor]:
    return {other: torch.full((count,), other == name) for other in names}


def same(one: Logits, other: Logits) -> bool:
    return all(torch.equal(one[head], other[head]) for head in one)


LOOKS = [(3, 1), (69, 2), (40, 1), (31, 0), (32, 2)]


def test_what_is_remembered_of_one_sensor_is_what_would_be_said(model: RecognizerModel, tokens: TokenStore) -> None:
    batch, rows = batch_of(tokens, LOOKS), torch.tensor([4, 0, 1])
    forgetful, remembering = (CachedTeacher(model, store).answers(batch, batch.present) for store in (None, tokens))
    for name in model.modalities:
        present = alone(name, model.modalities, len(rows))
        said, remembered = forgetful(rows, present), remembering(rows, present)
        assert list(said) == list(remembered)
        for head in said:
            torch.testing.assert_close(remembered[head], said[head], atol=1e-5, rtol=1e-4)
    both = {name: torch.ones(3, dtype=torch.bool) for name in model.modalities}
    assert same(forgetful(rows, both), remembering(rows, both))
    mixed = alone("rgb", model.modalities, 3) | {"rgb": torch.tensor([True, False, True]), "imu": torch.tensor([False, True, False])}
    assert same(forgetful(rows, mixed), remembering(rows, mixed))


def test_no_look_is_worked_out_twice_and_none_depends_on_who_asked_before(
    model: RecognizerModel, tokens: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, calls = AnswersAlone(model, "imu", tokens), []
    gather = TokenStore.gather
    monkeypatch.setattr(TokenStore, "gather", lambda *given: calls.append(given[1:]) or gather(*given))  # type: ignore[func-returns-value]
    asked = first.of(torch.tensor(LOOKS))
    assert len(calls) == 5  # no two of these looks share block and view
    assert same(first.of(torch.tensor(LOOKS)), asked) and len(calls) == 5
    other = AnswersAlone(model, "imu", tokens)
    other.of(torch.tensor([(5, 1), (33, 2), (68, 2), (63, 1)]))
    assert same(other.of(torch.tensor(LOOKS)), asked)
    backwards = other.of(torch.tensor(LOOKS[::-1]))
    assert same({head: values.flip(0) for head, values in backwards.items()}, asked)
