"""What long work says where nobody watches."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
import rich.console
import rich.progress

from karmma import progress
from karmma.progress import Progress, bars_of_workers


class Clock:
    """Seconds that the test sets."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def perf_counter(self) -> float:
        return self.seconds


def test_a_log_hears_of_long_work_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of it is done already when the stage is resumed; an hour of 600 steps of 6 s each is left."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with Progress("seed0.karmma") as bar:
        for step in range(600, 1201):
            bar.update(step, 1200, f"loss {step}")
            clock.seconds += 6.0
    lines = capsys.readouterr().err.splitlines()
    assert " ".join(lines[0].split()) == "seed0.karmma 610 of 1200 after 1 min, about 59 min left loss 610"
    minutes = [int(line.split(" after ")[1].split()[0]) for line in lines[:-1]]
    assert minutes == [1, 3, 7, 15, 25, 35, 45, 55]
    assert "about 5 min left" in lines[-2] and lines[-1].split()[:3] == ["seed0.karmma", "3606.0", "s"]


def test_short_work_says_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("read.train") as bar:
        for step in range(100):
            bar.update(step, 100)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_last_minute_is_told_in_seconds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with Progress("pretrain.rgb") as bar:
        for step in range(101):
            bar.update(step, 100)
            clock.seconds += 1.0
    assert "60 of 100 after 1 min, about 40 s left" in capsys.readouterr().err


def test_bars_of_workers_end_though_one_has_died_with_the_queues_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, int]] = []

    class Recorded(rich.progress.Progress):
        def update(self, task_id: Any, **changes: Any) -> None:
            drawn.append((self.tasks[task_id].description, changes["completed"]))

    monkeypatch.setattr(progress, "make_bar", lambda: Recorded(console=rich.console.Console(file=io.StringIO())))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with bars_of_workers() as reports:
        assert reports is not None
        for done in (1, 2):
            reports.put(("pretrain.rgb", done, 2, ""))
        assert reports._wlock.acquire(timeout=10)  # type: ignore[attr-defined]  # and never gives it back
    assert drawn == [("pretrain.rgb", 1), ("pretrain.rgb", 2)]
