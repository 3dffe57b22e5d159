"""The next batch is made while the last is trained on: same batches, same order, same weights, and threads are given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from karmma.config import DistillationConfig
from karmma.data.loading import EpochLoader, TrainingBatch
from karmma.data.missing import IndependentDropout
from karmma.training.ahead import WorkingAhead, leaving_threads, threads_to_spare
from karmma.training.tasks import DistillationTask, TaughtBatch
from karmma.training.teachers import LiveTeacher

from ..conftest import make_recognizer
from .test_tasks import CONFIG, dropping, fitted, make_loader


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_batches_come_in_order_and_one_ahead_across_epochs() -> None:
    seen: list[tuple[int, str, int]] = []

    def prepare(batch: TrainingBatch) -> TrainingBatch:
        seen.append((batch.seed, threading.current_thread().name, torch.get_num_threads()))
        return batch

    with WorkingAhead(make_loader, prepare, 1, epochs=2) as ahead:
        assert len(ahead.epoch(0)) == 3
        assert [batch.seed for batch in ahead.epoch(0)] == [0, 1, 2]
        wait_for(lambda: len(seen) == 4)  # the next epoch's first, unasked
        assert [batch.seed for batch in ahead.epoch(1)] == [100, 101, 102]
    assert [number for number, _, _ in seen] == [0, 1, 2, 100, 101, 102]
    assert {(name.startswith("ahead"), threads) for _, name, threads in seen} == {(True, 1)}


def test_an_epoch_begun_again_begins_with_its_first_batch() -> None:
    with WorkingAhead(make_loader, lambda batch: batch, 1, epochs=2) as ahead:
        begun = iter(ahead.epoch(0))
        assert [next(begun).seed, next(begun).seed] == [0, 1]
        assert [batch.seed for batch in ahead.epoch(0)] == [0, 1, 2]


def test_an_error_ahead_reaches_the_step() -> None:
    def prepare(batch: TrainingBatch) -> TrainingBatch:
        if batch.seed == 1:
            raise ValueError("clip 7 is broken")
        return batch

    with WorkingAhead(make_loader, prepare, 1, epochs=1) as ahead:
        batches = iter(ahead.epoch(0))
        assert next(batches).seed == 0
        with pytest.raises(ValueError, match="clip 7 is broken"):
            next(batches)


def test_threads_are_given_back() -> None:
    with pytest.raises(ValueError, match="stop"), leaving_threads(1):
        assert torch.get_num_threads() == 1
        raise ValueError("stop")
    assert torch.get_num_threads() == 2


def test_one_thread_has_none_to_spare_and_a_streamed_set_needs_them() -> None:
    class Loader:
        def __init__(self, streams: bool) -> None:
            self.store = type("Store", (), {"streams": streams})

    stored: EpochLoader = Loader(streams=False)  # type: ignore[assignment]
    streamed: EpochLoader = Loader(streams=True)  # type: ignore[assignment]
    assert threads_to_spare(stored) == 1 and threads_to_spare(streamed) == 0
    torch.set_num_threads(1)
    assert threads_to_spare(stored) == 0


@pytest.mark.parametrize("sees", ["same", "all"])
def test_taught_ahead_the_same_weights_come_out(tmp_path: Path, sees: Literal["same", "all"], monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = set()

    class Watched(DistillationTask):
        def losses(self, batch: Any, *flags: Any) -> Any:
            kinds.add((self.ahead is not None, self.beside is not None, type(batch) is TaughtBatch, torch.get_num_threads()))
            return super().losses(batch, *flags)

    def trained(ahead: int) -> dict[str, torch.Tensor]:
        torch.set_num_threads(1 + ahead)
        task = Watched(
            make_recognizer(own_votes=True), CONFIG, dropping(IndependentDropout(0.5)), own_weight=0.6,
            teacher=LiveTeacher(make_recognizer(seed=9)), distillation=DistillationConfig(0.7, 2.0, teacher_sees=sees),
        )  # fmt: skip
        monkeypatch.setattr(task, "spare_threads", lambda: ahead)
        weights: dict[str, torch.Tensor] = fitted(task, tmp_path / str(ahead)).recognizer.state_dict()
        return weights

    alone, ahead = trained(0), trained(1)
    assert kinds == {(False, False, False, 1), (True, True, True, 1)}
    assert all(torch.equal(alone[key], ahead[key]) for key in alone)
    assert torch.get_num_threads() == 2
