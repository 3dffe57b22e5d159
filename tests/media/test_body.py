"""A segmented person in depth pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from karmma.media.body import crop_to_body, draw_views, find_body


def standing_person(frames: int = 3) -> NDArray[np.float32]:
    """A trunk 2.5 m away whose arm, 0.4 m before it, moves from frame to frame; `(frames, 240, 320)`, metres, 0 is background."""
    depth = np.zeros((frames, 240, 320), np.float32)
    depth[:, 60:200, 140:180] = 2.5
    for frame in range(frames):
        depth[frame, 90 + 10 * frame : 100 + 10 * frame, 170:215] = 2.1
    return depth


def test_background_around_a_body_does_not_change_what_is_drawn_of_it() -> None:
    whole = standing_person()
    part = crop_to_body(whole)
    assert part.shape == (3, 140, 75)
    around, close = find_body(whole), find_body(part)
    assert around is not None and close is not None
    for picture, cropped in zip(whole, part, strict=True):
        views = draw_views(picture, around, 60, 0.6, 0.3), draw_views(cropped, close, 60, 0.6, 0.3)
        assert views[0].any() and np.abs(views[0].astype(int) - views[1].astype(int)).max() <= 1


def test_an_arm_before_the_body_shows_in_the_side_view() -> None:
    depth = standing_person(1)
    frame = find_body(depth)
    assert frame is not None and frame.trunk_metres == pytest.approx(2.5)
    _, side, _ = np.split(draw_views(depth[0], frame, 60, 0.6, 0.3), [60, 90], axis=1)
    near = np.flatnonzero(side[:, 20:].any(1))  # layers from 0.3 m before the trunk on
    top, bottom = (60 / frame.side * (row - frame.top) for row in (90, 100))
    assert len(near) and near.min() >= int(top) and near.max() <= int(bottom)


def test_pictures_of_nobody_stay_as_they_are() -> None:
    nobody = np.zeros((2, 24, 32), np.float32)
    assert crop_to_body(nobody).shape == nobody.shape and find_body(nobody) is None
