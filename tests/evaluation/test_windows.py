"""P4: windows within long clips."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from karmma.data.manifest import Segment
from karmma.data.missing import WindowOutage
from karmma.evaluation.evaluate import SubsetLogits
from karmma.evaluation.windows import cut_windows, window_accuracies
from karmma.types import KarmmaError, subsets_of

NAMES = ("rgb", "audio")


def test_segments_become_equal_windows_without_gaps() -> None:
    segments = [Segment("long", "", 1.0, 8.0, {}, {}), Segment("short", "", 2.0, 2.5, {}, {})]
    windows, owners = cut_windows(segments, 2.13)
    assert owners == [0, 0, 0, 1] and [window.name for window in windows] == ["long#0", "long#1", "long#2", "short#0"]
    assert [window.start_seconds for window in windows[:3]] == pytest.approx([1, 1 + 7 / 3, 1 + 14 / 3])
    assert all(a.stop_seconds == b.start_seconds for a, b in pairwise(windows[:3]))
    assert windows[2].stop_seconds == 8.0 and (windows[3].start_seconds, windows[3].stop_seconds) == (2.0, 2.5)


def test_outages_are_nested_and_hit_at_the_rate() -> None:
    available = torch.ones(4000, 2, dtype=torch.bool)
    hits = []
    for rate in (0.0, 0.25, 0.5, 1.0):
        presence = WindowOutage(("audio",), rate).presence(available, NAMES, torch.Generator().manual_seed(3))
        assert presence[:, 0].all()
        hits.append(~presence[:, 1])
    assert not hits[0].any() and hits[3].all()
    assert float(hits[1].double().mean()) == pytest.approx(0.25, abs=0.03)
    assert not (hits[1] & ~hits[2]).any()
    with pytest.raises(KarmmaError, match="allowed are rgb, audio"):
        WindowOutage(("imu",), 0.5).presence(available, NAMES, torch.Generator())


def test_a_clip_is_the_mean_of_what_its_windows_still_show() -> None:
    """Three windows of clip 0, one of clip 7; rgb says class 0 (true) a little, audio says class 1 loudly."""
    quiet, loud = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])
    answers = {("rgb", "audio"): quiet, ("rgb",): quiet, ("audio",): loud}
    logits = {s: {"action": answers[s].expand(4, 2)} for s in subsets_of(NAMES)}
    made = SubsetLogits(NAMES, torch.ones(4, 2, dtype=torch.bool), {"action": torch.zeros(4, dtype=torch.long)}, logits)
    owners = torch.tensor([0, 0, 0, 7])
    assert window_accuracies(made, owners, ("rgb",), 0.0)["action_top1"] == 100
    assert window_accuracies(made, owners, ("rgb",), 1.0)["action_top1"] == 0
    # One loud window among three is enough to turn clip 0: (2 · 1) against 3.
    generator = torch.Generator().manual_seed(0)
    hit = ~WindowOutage(("rgb",), 0.5).presence(made.available, NAMES, generator)[:, 0]
    expected = [100.0 * (not hit[:3].any()), 100.0 * (not hit[3])]
    assert window_accuracies(made, owners, ("rgb",), 0.5)["action_top1"] == sum(expected) / 2
    assert window_accuracies(made, owners, ("rgb", "audio"), 1.0)["action_top1"] is None


def test_a_window_needs_a_length_that_is_known(tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match="no such file"):
        cut_windows([Segment("open", "", 0.0, float("inf"), {}, {"rgb": tmp_path / "none.mp4"})])
