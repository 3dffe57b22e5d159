"""Protocols of `karmma evaluate` from logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from karmma.evaluation.adaptation import Midl
from karmma.evaluation.evaluate import SubsetLogits
from karmma.experiment.evaluation import Protocol, evaluate_checkpoint, measure
from karmma.types import KarmmaError, subsets_of

NAMES = ("rgb", "audio")


def make_logits() -> SubsetLogits:
    """Eight samples of class 0: right with rgb, wrong with audio alone."""
    right, wrong = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    logits = {s: {"action": (wrong if s == ("audio",) else right).expand(8, 2)} for s in subsets_of(NAMES)}
    labels = {"action": torch.zeros(8, dtype=torch.long)}
    return SubsetLogits(NAMES, torch.ones(8, 2, dtype=torch.bool), labels, logits, tuple("01234567"))


def test_observation_mixes_complete_and_incomplete_accuracy() -> None:
    result = measure(make_logits(), Protocol("observation", ("rgb",)))
    assert {share: row["action_top1"] for share, row in result["observation"].items()} == {
        "0.00": 100, "0.25": 75, "0.50": 50, "0.75": 25, "1.00": 0,
    }  # fmt: skip


def test_a_published_mask_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "half_video.csv"
    rows = "".join(f"{i},True,{i % 2 == 0}\n" for i in range(8))
    path.write_text("video_id,has_audio,has_video\n" + rows)
    result = measure(make_logits(), Protocol("observation", mask=path))
    assert result["observation"]["half_video"]["action_top1"] == 50 and result["samples_incomplete"] == 4


def test_subsets_and_sweep_can_be_asked_for_alone() -> None:
    subsets, sweep = (measure(make_logits(), Protocol(name)) for name in ("subsets", "sweep"))
    assert "sweep" not in subsets and subsets["subsets"]["rgb"]["action_top1"] == 100
    assert "subsets" not in sweep and sweep["sweep"]["0.0"]["action_top1"] == 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("windows",), "unknown protocol 'windows'; known: all, subsets, sweep, observation, window"),
        (("window",), "needs? --missing MODALITIES"),
        (("window", (), Path("mask.csv")), "--mask belongs to the protocol observation"),
        (("observation",), "need --missing MODALITIES or --mask CSV"),
        (("sweep", ("rgb",)), "only they, need --missing"),
        (("all", (), None, Midl()), "--adapt belongs to the protocol observation"),
    ],
)
def test_protocols_that_make_no_sense_are_refused(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(KarmmaError, match=words):
        Protocol(*arguments)  # type: ignore[arg-type]


def test_a_network_that_adapts_looks_once() -> None:
    protocol = Protocol("observation", ("rgb",), adaptation=Midl())
    with pytest.raises(KarmmaError, match="--adapt looks at each clip once, as it comes; --views 3 looks again"):
        evaluate_checkpoint(Path("none"), Path("none"), None, "test", None, protocol=protocol, views=3)
