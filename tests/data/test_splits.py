"""Classes and splits are doubted before anything is trained on them."""

from __future__ import annotations

from math import inf
from pathlib import Path

from karmma.data.manifest import Manifest, Segment
from karmma.data.splits import doubt_splits
from karmma.types import LabelSpace


def clip(name: str, start: float, stop: float, label: int = 0, film: str = "a.mp4") -> Segment:
    return Segment(name, "", start, stop, {"verb": label}, {"rgb": Path(film), "audio": Path(film)})


def doubts(names: tuple[str, ...] = ("take", "put"), **splits: list[Segment]) -> list[str]:
    return doubt_splits(Manifest("m", LabelSpace({"verb": names}), {split: tuple(clips) for split, clips in splits.items()}))


def test_a_sound_set_is_not_doubted() -> None:
    train = [clip("1", 0, 2), clip("2", 2, 4, 1), clip("3", 0, inf, 1, "b.mp4")]
    assert not doubts(train=train, test=[clip("4", 4, 6), clip("5", 0, 2, 1, "c.mp4")], source=[clip("6", 0, 4)])
    assert not doubts(test=[clip("4", 4, 6)])
    assert not doubts(train=train, test=[Segment("empty", "", 0, 2, {"verb": 0}, {})])


def test_classes_that_differ_in_spelling_alone() -> None:
    (said,) = doubts(("Pick up", "pick-up", "put", "pick_up"), train=[clip("1", 0, 2)])
    assert said == "classes of verb that differ in spelling alone: 'Pick up' and 'pick-up' and 'pick_up'"


def test_classes_that_nobody_learns() -> None:
    test = [clip(str(label), 10 + label, 11 + label, label) for label in range(8)]
    (said,) = doubts(tuple("abcdefgh"), train=[clip("1", 0, 2)], test=test, source=test)
    assert said == "7 of 8 clips of test have a verb that no clip of train has: b, c, d, e, f and 2 more"


def test_clips_that_are_learnt_and_tested() -> None:
    train = [clip("1", 0, 3), clip("2", 1, 2), clip("3", 8, 9)]
    validation = [clip("within", 0.5, 0.7), clip("behind", 3, 8), clip("around", 7, 10), clip("other", 0, 3, film="b.mp4")]
    assert doubts(train=train, validation=validation, test=[clip("whole", 0, inf)]) == [
        "2 of 4 clips of validation overlap clips of train in the same file; first within",
        "1 of 1 clips of test overlap clips of train in the same file; first whole",
    ]
