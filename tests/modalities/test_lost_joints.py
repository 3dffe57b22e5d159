"""Joints and moments that a tracker lost: filled where somebody is there, absent where nobody is, named where nothing can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from karmma.media.containers import MediaError
from karmma.media.inspection import inspect_file
from karmma.media.live import ArrayBuffer
from karmma.modalities.skeleton import Skeleton

SKELETON = Skeleton(frames=12)
HAND, HIP, NECK = 7, 3, 1
SECONDS = np.arange(120) / 30


@pytest.fixture
def poses() -> np.ndarray:
    """Four seconds of somebody 2.5 m away whose joints move evenly, so that lines between moments tell the truth."""
    random = np.random.default_rng(0)
    joints = random.normal(0, 0.3, (20, 3)) + np.array([0, 0, 2.5])
    return joints + SECONDS[:, None, None] * random.normal(0, 0.1, (20, 3))


def read_or_none(
    path: Path, values: np.ndarray, span: tuple[float, float] = (1.0, 3.0), clock: bool = True, skeleton: Skeleton = SKELETON
) -> np.ndarray | None:
    arrays: dict[str, Any] = {"skeleton": values, **({"seconds": SECONDS} if clock else {})}
    np.savez(path, **arrays)
    return skeleton.read(path, *span)


def read(path: Path, values: np.ndarray, span: tuple[float, float] = (1.0, 3.0), **options: Any) -> np.ndarray:
    stored = read_or_none(path, values, span, **options)
    assert stored is not None
    return stored


@pytest.mark.parametrize("clock", [True, False])
def test_lost_joints_and_moments_lie_on_the_line_between_those_seen(poses: np.ndarray, tmp_path: Path, clock: bool) -> None:
    whole = read(tmp_path / "whole.npz", poses, clock=clock)
    gaps = poses.copy()
    gaps[40:60, HAND] = np.nan
    gaps[50:55, HIP, 1] = np.nan
    gaps[70:75] = 0.0  # the tracker has lost the body
    np.testing.assert_allclose(read(tmp_path / "gaps.npz", gaps, clock=clock), whole, atol=1e-4)


def test_a_joint_lost_at_an_end_stays_where_it_was_seen_and_one_never_seen_lies_at_the_hip(poses: np.ndarray, tmp_path: Path) -> None:
    gaps = poses.copy()
    gaps[:90, HAND] = np.nan  # seen again at the segment's end, and in the second after it
    gaps[:, 15] = np.nan
    stored = read(tmp_path / "s.npz", gaps)
    assert np.isfinite(stored).all()
    assert np.allclose(stored[:, HAND], stored[0, HAND], atol=1e-3)
    np.testing.assert_allclose(stored[:, 15], stored[:, HIP], atol=1e-5)


def test_nobody_is_absent_and_nothing_that_can_be_told_is_named(poses: np.ndarray, tmp_path: Path) -> None:
    away = poses.copy()
    away[25:95] = 0.0
    assert read_or_none(tmp_path / "s.npz", away) is None
    near = read(tmp_path / "s.npz", away, (0.0, 2.0))  # somebody for less than half of it
    assert np.abs(near).max() < 3.0
    for values, words in (
        (np.full_like(poses, np.nan), r"s\.npz: all values are not finite from 1.000 to 3.000 s"),
        (np.where(np.arange(20)[:, None] == HIP, np.nan, poses), "the hip is never seen: joints hip"),
        (np.where(np.arange(20)[:, None] == NECK, np.nan, poses), "the neck is never seen: joints neck"),
    ):
        with pytest.raises(MediaError, match=words):
            read(tmp_path / "s.npz", values)


def test_pictures_have_their_lost_joints_at_the_corner(poses: np.ndarray, tmp_path: Path) -> None:
    flat = Skeleton(frames=12, layout="kinect", flat=True)
    pixels = 200 * poses[..., :2] + 500
    lost = pixels.copy()
    lost[40:60, HAND] = 0.0
    whole, filled = (read(tmp_path / "s.npz", values, skeleton=flat) for values in (pixels, lost))
    np.testing.assert_allclose(filled, whole, atol=1e-3)


def test_live_poses_are_filled_as_stored_ones(poses: np.ndarray, tmp_path: Path) -> None:
    gaps = poses.copy()
    gaps[40:60, HAND] = np.nan
    buffer = ArrayBuffer(10.0, (20, 3), gaps=True)
    for second, pose in zip(SECONDS, gaps, strict=True):
        buffer.push(float(second), pose)
    buffer.push(4.1, np.full((20, 3), np.nan))
    assert buffer.broken == 1
    live = SKELETON.read_live(buffer, 1.0, 3.0)
    assert live is not None
    np.testing.assert_allclose(live, read(tmp_path / "s.npz", gaps), atol=1e-5)


def test_a_check_counts_them(poses: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    poses[40:60, HAND] = np.nan
    np.savez(path, skeleton=poses, seconds=SECONDS)
    report = inspect_file(path, ("skeleton",))
    assert report.warnings == ["0.83 % of joints are lost (no numbers), in 20 of 120 samples"] and not report.errors
    np.savez(path, skeleton=poses.reshape(120, 60), seconds=SECONDS)  # a row of coordinates
    assert inspect_file(path, ("skeleton",)).warnings == report.warnings
    np.savez(path, skeleton=poses[:, None], seconds=SECONDS)
    assert "must be time × joints × coordinates" in inspect_file(path, ("skeleton",)).errors[0]
