"""Extractors that share a backward pass: the same gradients to the last bit, two threads at work, errors reach the step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from karmma.config import DistillationConfig
from karmma.models.recognizer import RecognizerModel
from karmma.training.ahead import leaving_threads
from karmma.training.beside import ExtractorsBeside
from karmma.training.tasks import DistillationTask
from karmma.training.teachers import LiveTeacher
from karmma.types import Batch

from ..conftest import SPECS, make_batch, make_recognizer
from .test_tasks import CONFIG, make_loader

Present = dict[str, Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with leaving_threads(torch.get_num_threads() - 1):
        yield


def loss_of(model: RecognizerModel, batch: Batch, present: Present) -> Tensor:
    return torch.stack([values.square().sum() for values in model(batch.data, present).values()]).sum()


def gradients(model: RecognizerModel, back: Callable[[Tensor], None], batch: Batch, present: Present) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(0)
    back(loss_of(model, batch, present))
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("left_out", [(), ("audio",), ("audio", "imu", "detections")])
def test_gradients_are_those_of_one_pass(left_out: tuple[str, ...]) -> None:
    model, batch = make_recognizer(dropout=0.3).train(), make_batch(4)
    present = {name: torch.tensor([name not in left_out, True, name == "rgb", True]) for name in SPECS}
    present |= {name: torch.zeros(4, dtype=torch.bool) for name in left_out}
    alone = gradients(model, torch.Tensor.backward, batch, present)
    with ExtractorsBeside(list(model.encoders.values())) as beside:
        for _ in range(3):  # in another order once it is known who takes long
            shared = gradients(model, beside.backward, batch, present)
            assert shared.keys() == alone.keys() and all(torch.equal(shared[name], alone[name]) for name in alone)
    assert any("encoders.audio" in name for name in alone) == (not left_out)


class Slow(nn.Module):
    """Waits, on its way back, for another one like it on another thread."""

    def __init__(self, meeting: threading.Barrier, names: list[str]) -> None:
        super().__init__()
        self.weight, self.meeting, self.names = nn.Parameter(torch.ones(())), meeting, names

    def forward(self, x: Tensor) -> Tensor:
        y = x * self.weight
        y.register_hook(self.meet)
        return y

    def meet(self, gradient: Tensor) -> Tensor:
        self.meeting.wait(20)
        self.names.append(threading.current_thread().name)
        return gradient


def test_two_extractors_are_at_work_at_once() -> None:
    names: list[str] = []
    meeting = threading.Barrier(2)
    pair = [Slow(meeting, names), Slow(meeting, names)]
    with ExtractorsBeside(pair) as beside:
        beside.backward(pair[0](torch.ones(3)).sum() * 2 + pair[1](torch.ones(3)).sum() * 5)
    assert sorted(name.startswith("beside") for name in names) == [False, True]
    assert [float(one.weight.grad) for one in pair if one.weight.grad is not None] == [6, 15]


@pytest.mark.parametrize("broken", [0, 1])
def test_an_error_on_either_thread_reaches_the_step(broken: int) -> None:
    def fail(_: Tensor) -> Tensor:
        raise ValueError("extractor is broken")

    pair = [nn.Linear(3, 3), nn.Linear(3, 3)]
    with ExtractorsBeside(pair) as beside:
        outputs = [one(torch.ones(1, 3)) for one in pair]
        beside.cuts[pair[broken]][0][0].register_hook(fail)
        with pytest.raises(ValueError, match="extractor is broken"):
            beside.backward(torch.stack(outputs).sum())
        for one in pair:
            one.zero_grad()
        beside.backward(torch.stack([one(torch.ones(1, 3)) for one in pair]).sum())
        # nothing is left of the step before
        assert all(one.bias.grad is not None and torch.equal(one.bias.grad, torch.ones(3)) for one in pair)


def test_nothing_is_cut_without_gradients_or_afterwards() -> None:
    model, batch = make_recognizer(), make_batch(2)
    with ExtractorsBeside(list(model.encoders.values())) as beside:
        with torch.no_grad():
            model(batch.data, batch.present)
        assert not beside.cuts
        cut = loss_of(model, batch, batch.present)
        cut.backward()
        assert beside.cuts and all(parameter.grad is None for parameter in model.encoders.parameters())
    loss_of(model, batch, batch.present).backward()
    assert all(parameter.grad is not None for parameter in model.encoders.parameters() if parameter.requires_grad)


def test_not_beside_compiled_or_recomputed_extractors_or_on_several_threads() -> None:
    make = partial(
        DistillationTask, make_recognizer(), teacher=LiveTeacher(make_recognizer(seed=9)), distillation=DistillationConfig(0.7, 2.0)
    )
    found = []
    for config in (CONFIG, replace(CONFIG, compile=True), replace(CONFIG, checkpoint_activations=True)):
        with make(config, make_loader).sharing_backward() as beside:
            found.append(beside is not None)
    torch.set_num_threads(2)
    with make(CONFIG, make_loader).sharing_backward() as beside:
        found.append(beside is not None)
    assert found == [True, False, False, False]
