"""Where every part of a kitchen is at any second: things by their tracks, hands bone by bone."""

from __future__ import annotations

import numpy as np

from .hands import bone_transforms
from .stage import Stage
from .tracks import Vector, placements


def part_placements(stage: Stage, names: list[str], seconds: Vector) -> Vector:
    """Transforms `(T, P, 4, 4)` of all parts, bones of both hands included."""
    bones = {hand: hand_bones(stage, hand, seconds) for hand in ("right", "left")}
    moves = []
    for name in names:
        if "/" in name:
            hand, bone = name.split("/")
            moves.append(bones[hand][bone])
        else:
            moves.append(placements(stage.tracks[name].at(seconds)))
    return np.stack(moves, 1)


def hand_bones(stage: Stage, hand: str, seconds: Vector) -> dict[str, Vector]:
    pose, body = stage.tracks[hand].at(seconds), stage.tracks["body"].at(seconds)
    side = stage.side_of(hand)
    elbow = np.stack([body[:, 0] + 0.30 * side, np.full(len(seconds), 1.02), np.full(len(seconds), -0.16)], -1)
    elbow[:, 1] += 0.6 * np.maximum(pose[:, 1] - 1.15, 0)
    return bone_transforms(pose[:, :3], elbow, pose[:, 3], pose[:, 4], side, stage.kitchen.habits.hand_scale)
