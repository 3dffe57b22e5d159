"""UTD-MHAD (Chen, Jafari, Kehtarnavaz, ICIP 2015): 27 actions, 8 subjects, depth video, skeleton and an inertial sensor.

Layout as published: `Depth/a1_s1_t1_depth.mat`, `Skeleton/a1_s1_t1_skeleton.mat`, `Inertial/a1_s1_t1_inertial.mat` below
the root. A trial is kept with whatever of the three is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import scipy.io
from pydantic.dataclasses import dataclass

from ..config import STRICT
from ..data.manifest import Manifest, Segment
from ..media.series import BROKEN
from ..types import KarmmaError, LabelSpace

ACTIONS = (
    "swipe left", "swipe right", "wave", "clap", "throw", "cross arms", "basketball shoot", "draw x",
    "draw circle clockwise", "draw circle counter-clockwise", "draw triangle", "bowling", "boxing", "baseball swing",
    "tennis swing", "arm curl", "tennis serve", "push", "knock", "catch", "pick up and throw", "jog", "walk",
    "sit to stand", "stand to sit", "lunge", "squat",
)  # fmt: skip
FOLDERS = {"imu": ("Inertial", "inertial"), "skeleton": ("Skeleton", "skeleton"), "depth": ("Depth", "depth")}
INERTIAL_HZ = 50.0
USUAL_SECONDS = 3.6  # where no inertial file tells the length of a trial
Trial = tuple[int, int, int]  # action, subject, repetition, all from 1


@dataclass(frozen=True, config=STRICT)
class UtdMhadConfig:
    """Official cross-subject split. `fold` takes one training subject out, as split `validation`, for every choice."""

    train_subjects: tuple[int, ...] = (1, 3, 5, 7)
    test_subjects: tuple[int, ...] = (2, 4, 6, 8)
    fold: int | None = None

    def __post_init__(self) -> None:
        both = set(self.train_subjects) & set(self.test_subjects)
        if both:
            raise ValueError(f"subject {min(both)} is in train_subjects and in test_subjects")
        if self.fold is not None and self.fold not in self.train_subjects:
            raise ValueError(f"fold {self.fold} is none of the training subjects {self.train_subjects}")


def load_utd_mhad(root: Path, settings: UtdMhadConfig) -> Manifest:
    """Every trial below `root`. Raises KarmmaError if there is none, or if a file has an impossible name."""
    trials = find_trials(root)
    if not trials:
        folders = ", ".join(folder for folder, _ in FOLDERS.values())
        raise KarmmaError(f"{root}: no trials a*_s*_t*_*.mat in any of the folders {folders}")
    held_out = () if settings.fold is None else (settings.fold,)
    subjects = {
        "train": tuple(subject for subject in settings.train_subjects if subject not in held_out),
        "validation": held_out,
        "test": settings.test_subjects,
    }
    splits = {split: segments_of(trials, chosen) for split, chosen in subjects.items()}
    counts = {name: sum(name in sources for sources in trials.values()) for name in FOLDERS}
    return Manifest("utd_mhad", LabelSpace({"action": ACTIONS}), splits, provenance={"trials": len(trials), "files": counts})


def find_trials(root: Path) -> dict[Trial, dict[str, Path]]:
    """Files by modality of every trial, in the order of action, subject and repetition."""
    trials: dict[Trial, dict[str, Path]] = {}
    for name, (folder, suffix) in FOLDERS.items():
        for path in sorted((root / folder).glob("[!.]*.mat")):  # hidden ones are what a Mac leaves beside each file
            match = re.fullmatch(rf"a(\d+)_s(\d+)_t(\d+)_{suffix}\.mat", path.name)
            if match is None or not 1 <= int(match[1]) <= len(ACTIONS):
                raise KarmmaError(f"{path}: expected a name like a1_s1_t1_{suffix}.mat with actions 1–{len(ACTIONS)}")
            trials.setdefault((int(match[1]), int(match[2]), int(match[3])), {})[name] = path
    return dict(sorted(trials.items()))


def segments_of(trials: dict[Trial, dict[str, Path]], subjects: Iterable[int]) -> tuple[Segment, ...]:
    chosen = set(subjects)
    return tuple(
        Segment(
            f"a{action}_s{subject}_t{repetition}",
            f"s{subject}",
            0.0,
            length_seconds(sources),
            {"action": action - 1},
            sources,
        )
        for (action, subject, repetition), sources in trials.items()
        if subject in chosen
    )


def length_seconds(sources: dict[str, Path]) -> float:
    """Length of a trial by its inertial samples. Kinect's files carry no clock: they span the trial.

    An unreadable file is not judged here: reading it names it and counts it.
    """
    if "imu" not in sources:
        return USUAL_SECONDS
    try:
        shapes = {name: shape for name, shape, _ in scipy.io.whosmat(sources["imu"])}
    except BROKEN:
        return USUAL_SECONDS
    shape = shapes.get("d_iner", ())
    return shape[0] / INERTIAL_HZ if shape and shape[0] else USUAL_SECONDS
