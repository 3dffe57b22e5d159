"""A segmented person in depth pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from karmma.media.body import Pictures, crop_to_body, draw_views, find_body, find_points


def standing_person(frames: int = 3) -> NDArray[np.float32]:
    """A trunk 2.5 m away whose arm, 0.4 m before it, moves from frame to frame; `(frames, 240, 320)`, metres, 0 is background."""
    depth = np.zeros((frames, 240, 320), np.float32)
    depth[:, 60:200, 140:180] = 2.5
    for frame in range(frames):
        depth[frame, 90 + 10 * frame : 100 + 10 * frame, 170:215] = 2.1
    return depth


def drawn(depth: NDArray[np.float32], size: int = 60, degrees: float = 0.0) -> tuple[Pictures, Pictures, Pictures]:
    """Front, side and top of all frames."""
    frame = find_body(depth)
    assert frame is not None
    views = draw_views(find_points(depth, frame, size).turned(degrees), size, 0.6, 0.3)
    assert views.shape == (len(depth), size, 2 * size)
    return views[:, :, :size], views[:, :, size : size * 3 // 2], views[:, :, size * 3 // 2 :]


def test_background_around_a_body_does_not_change_what_is_drawn_of_it() -> None:
    whole = standing_person()
    part = crop_to_body(whole)
    assert part.shape == (3, 140, 75)
    for around, close in zip(drawn(whole), drawn(part), strict=True):
        assert around.any() and np.abs(around.astype(int) - close.astype(int)).max() <= 1


def test_an_arm_before_the_body_shows_in_the_side_view() -> None:
    depth = standing_person(1)
    frame = find_body(depth)
    assert frame is not None and frame.trunk_metres == pytest.approx(2.5)
    _, side, _ = drawn(depth)
    near = np.flatnonzero(side[0][:, 20:].any(1))  # layers from 0.3 m before the trunk on
    top, bottom = (60 / frame.side * (row - frame.top) for row in (90, 100))
    assert len(near) and near.min() >= int(top) and near.max() <= int(bottom)


def test_the_front_shows_nearness_and_a_full_trunk() -> None:
    front, _, _ = drawn(standing_person(1))
    trunk = front[0][front[0] > 0]
    level = 255 * (0.3 + 0.7 * 0.3 / 0.9)
    assert np.median(trunk) == pytest.approx(level, abs=1) and (trunk > 0.98 * level).mean() > 0.8
    assert trunk.max() == pytest.approx(255 * (0.3 + 0.7 * 0.7 / 0.9), abs=2)  # the arm, 0.4 m before the trunk


def reaching_person() -> NDArray[np.float32]:
    """Both a trunk and, before its middle, a fist 0.5 m nearer, such as no silhouette shows."""
    depth = np.zeros((1, 240, 320), np.float32)
    depth[0, 60:200, 140:180] = 2.5
    depth[0, 95:105, 155:165] = 2.0
    return depth


def test_a_hidden_fist_leaves_the_silhouette_when_a_body_is_turned() -> None:
    rows = slice(14, 30)  # of the fist, and some around it
    straight, left, right = (drawn(reaching_person(), degrees=degrees)[0][0][rows] > 200 for degrees in (0, -40, 40))
    middle = np.argwhere(straight)[:, 1].mean()
    assert middle == pytest.approx(30, abs=1)
    assert np.argwhere(right)[:, 1].mean() < middle - 5 and np.argwhere(left)[:, 1].mean() > middle + 5


def test_turning_is_undone_by_turning_back_and_leaves_heights_alone() -> None:
    depth = standing_person()
    frame = find_body(depth)
    assert frame is not None
    points = find_points(depth, frame, 60)
    there = points.turned(33.0)
    back = there.turned(-33.0)
    assert np.abs(there.across - points.across).max() > 0.05 and np.array_equal(there.down, points.down)
    np.testing.assert_allclose(back.across, points.across, atol=1e-5)
    np.testing.assert_allclose(back.behind_metres, points.behind_metres, atol=1e-5)


def test_a_body_of_few_pixels_is_drawn_without_holes() -> None:
    depth = np.zeros((1, 30, 40), np.float32)
    depth[0, 8:25, 17:22] = 2.5
    front, _, _ = drawn(depth)
    seen = np.argwhere(front[0])
    (top, left), (bottom, right) = seen.min(0) + 1, seen.max(0)
    assert bottom - top > 30 and right - left > 8 and (front[0][top:bottom, left:right] > 100).all()


def test_what_is_no_distance_is_background() -> None:
    depth, odd = standing_person(), standing_person()
    odd[:, :40], odd[:, 210:, :100], odd[:, 210:, 200:] = np.nan, -1.0, -np.inf
    for one, other in zip(drawn(depth, degrees=20), drawn(odd, degrees=20), strict=True):
        assert one.any() and np.array_equal(one, other)


def test_a_wide_line_of_pixels_does_not_fill_the_memory() -> None:
    line = np.zeros((2, 4, 320), np.float32)
    line[:, 2] = 2.5
    frame = find_body(line)
    assert frame is not None
    assert len(find_points(line, frame, 60).across) <= 2 * 320 * 8 * 8


def test_pictures_of_nobody_stay_as_they_are() -> None:
    nobody = np.zeros((2, 24, 32), np.float32)
    assert crop_to_body(nobody).shape == nobody.shape and find_body(nobody) is None
