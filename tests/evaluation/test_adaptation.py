"""MiDl: what it asks for, what moves, and in which order clips are answered and learnt from."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from karmma.evaluation.adaptation import Midl, adapted_logits, midl_loss, mutual_information
from karmma.models.recognizer import RecognizerModel
from karmma.types import Batch

from ..conftest import SPECS, make_batch, make_recognizer

CLIPS = 6
ROWS = torch.arange(CLIPS)
STRONG = Midl(lr=0.05)


class Clips:
    """A store of six clips that counts who was asked for."""

    def __init__(self) -> None:
        self.clips, self.asked = make_batch(CLIPS), list[tuple[int, tuple[str, ...]]]()

    def batch(self, indices: Any, augmentation: Any, names: Any) -> Batch:
        self.asked.append((int(indices[0]), tuple(names)))
        some = self.clips.select(torch.as_tensor(np.asarray(indices)))
        return Batch({name: some.data[name] for name in names}, {name: some.present[name] for name in names}, some.labels)


def stream(model: RecognizerModel, presence: torch.Tensor, settings: Midl, order: list[int] | None = None) -> dict[str, torch.Tensor]:
    return adapted_logits(model, Clips(), presence, ROWS, order or list(range(CLIPS)), settings)  # type: ignore[arg-type]


def plain(model: RecognizerModel, presence: torch.Tensor) -> dict[str, torch.Tensor]:
    flags = {name: presence[:, column] for column, name in enumerate(SPECS)}
    with torch.no_grad():
        return model.eval()(make_batch(CLIPS).data, flags)


def everything() -> torch.Tensor:
    return torch.ones(CLIPS, len(SPECS), dtype=torch.bool)


def test_mutual_information_is_that_of_the_joint_distribution() -> None:
    logits = [torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    joint = torch.stack([values.softmax(-1) for values in logits]).double() / 3  # p(view, class)
    margins = joint.sum(0, keepdim=True), joint.sum(2, keepdim=True)
    expected = (joint * (joint / (margins[0] * margins[1])).log()).sum((0, 2))
    torch.testing.assert_close(mutual_information(logits).double(), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mutual_information([logits[0]] * 3), torch.zeros(5), atol=1e-6, rtol=0)


def test_the_loss_keeps_what_was_said_of_the_whole_clip() -> None:
    before, other = {"action": torch.tensor([[2.0, 0.0]])}, {"action": torch.tensor([[0.0, 2.0]])}
    assert float(midl_loss([before, before], before, Midl())) == pytest.approx(0, abs=1e-6)
    erased = float(midl_loss([before, other], before, Midl()))
    forgotten = float(midl_loss([other, other], before, Midl()))
    target = before["action"].softmax(-1)
    divergence = float((target * (before["action"].log_softmax(-1) - other["action"].log_softmax(-1))).sum())
    assert forgotten == pytest.approx(3 * divergence, rel=1e-5) and 0 < erased < 3 * float(torch.tensor(2.0).log())


def test_a_clip_is_answered_before_it_is_learnt_from_and_the_model_stays_as_it_is() -> None:
    model = make_recognizer()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    adapted, base = stream(model, everything(), STRONG, [3, 0, 1, 2, 4, 5]), plain(model, everything())
    torch.testing.assert_close(adapted["verb"][3], base["verb"][3])  # the first of the stream
    assert (adapted["verb"] - base["verb"])[[0, 1, 2, 4, 5]].abs().amax(1).min() > 1e-4
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    torch.testing.assert_close(stream(model, everything(), Midl(lr=0.0))["noun"], base["noun"])


def test_only_complete_clips_are_learnt_from_and_what_is_missing_is_never_read() -> None:
    model, presence = make_recognizer(), everything()
    presence[:, 1] = False
    adapted, base = stream(model, presence, STRONG), plain(model, presence)
    torch.testing.assert_close(adapted["verb"], base["verb"])
    presence[0] = True
    changed = stream(model, presence, STRONG)
    assert (changed["verb"] - base["verb"])[1:].abs().max() > 1e-4
    store, presence[4] = Clips(), False
    said = adapted_logits(model, store, presence, ROWS, list(range(CLIPS)), STRONG)  # type: ignore[arg-type]
    assert said["verb"][4].isnan().all() and not said["verb"][[0, 1, 2, 3, 5]].isnan().any()
    without = tuple(name for name in SPECS if name != tuple(SPECS)[1])
    assert store.asked == [(row, tuple(SPECS) if row == 0 else without) for row in (0, 1, 2, 3, 5)]


def test_norms_move_and_answers_come_to_depend_less_on_what_was_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    model, kept = make_recognizer(), list[RecognizerModel]()

    def keep(model: RecognizerModel) -> RecognizerModel:
        kept.append(deepcopy(model))
        return kept[0]

    monkeypatch.setattr("karmma.evaluation.adaptation.copy", SimpleNamespace(deepcopy=keep))
    stream(model, everything(), STRONG, list(range(CLIPS)) * 10)
    modules = [name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)]
    norms = {f"{name}.{key}" for name in modules for key in ("weight", "bias")}
    before, after = model.state_dict(), kept[0].state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} <= norms

    def information(of: RecognizerModel) -> float:
        views = [plain(of, everything())]
        for column in range(len(SPECS)):
            presence = everything()
            presence[:, column] = False
            views.append(plain(of, presence))
        return sum(float(mutual_information([view[head] for view in views]).mean()) for head in views[0])

    assert information(kept[0]) < 0.7 * information(model)
