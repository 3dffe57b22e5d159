"""Hands with fingers and forearms: their meshes and where each bone is, given where the hand grips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .meshes import Colour, Mesh, box, join, tube
from .tracks import Vector, rotations

FINGER_ROOTS = (-0.031, -0.0105, 0.0105, 0.031)
FINGER_LENGTHS = (0.032, 0.038, 0.040, 0.036)
PALM_LENGTH = 0.085
WRIST_TO_GRIP = 0.125


@dataclass(frozen=True)
class HandLook:
    """Skin and sleeve of a participant, and which way the thumb points (+1: right hand)."""

    skin: Colour
    sleeve: Colour | None
    scale: float = 1.0


def bone_meshes(look: HandLook) -> dict[str, Mesh]:
    """Meshes by bone name: forearm (unit length along y), palm, two bones a finger, two of the thumb."""
    skin, k = look.skin, look.scale
    dark: Colour = (skin[0] * 0.9, skin[1] * 0.86, skin[2] * 0.84)
    forearm = tube((0, 0, 0), (0, 1, 0), 0.045 * k, 0.029 * k, skin, sides=7)
    if look.sleeve is not None:
        forearm = join(forearm, tube((0, -0.02, 0), (0, 0.62, 0), 0.055 * k, 0.045 * k, look.sleeve, sides=7))
    meshes = {"forearm": forearm, "palm": box(0.082 * k, PALM_LENGTH * k, 0.03 * k, skin, taper=0.95)}
    for index, length in enumerate(FINGER_LENGTHS):
        meshes[f"finger{index}a"] = box(0.018 * k, length * k, 0.018 * k, skin, taper=0.9)
        meshes[f"finger{index}b"] = box(0.016 * k, length * 0.95 * k, 0.016 * k, dark, taper=0.75)
    meshes["thumb_a"] = box(0.022 * k, 0.042 * k, 0.02 * k, skin, taper=0.9)
    meshes["thumb_b"] = box(0.019 * k, 0.032 * k, 0.017 * k, dark, taper=0.75)
    return meshes


def hand_frames(grip: Vector, elbow: Vector, roll: Vector) -> Vector:
    """Axes `(T, 3, 3)` of a hand: columns thumb side, fingers, back of the hand; fingers point away from the elbow."""
    fingers = grip - elbow
    fingers /= np.linalg.norm(fingers, axis=1, keepdims=True)
    back = np.array([0.0, 1.0, 0.0]) - fingers * fingers[:, 1:2]
    back /= np.maximum(np.linalg.norm(back, axis=1, keepdims=True), 1e-6)
    frame = np.stack([np.cross(fingers, back), fingers, back], -1)
    zeros = np.zeros_like(roll)
    return frame @ rotations(roll, zeros, zeros)


def bone_transforms(
    grip: Vector, elbow: Vector, roll: Vector, closure: Vector, side: float, scale: float
) -> dict[str, Vector]:
    """Transforms `(T, 4, 4)` of every bone. `closure` 0 is a flat hand, 1 a fist; `side` +1 is a right hand."""
    frame = hand_frames(grip, elbow, roll)
    wrist = grip - frame[:, :, 1] * WRIST_TO_GRIP * scale + frame[:, :, 2] * 0.03 * scale
    bones = {"palm": compose(frame, wrist), "forearm": forearm_transform(elbow, wrist)}
    curl = 0.25 + 1.15 * closure
    for index, (root, length) in enumerate(zip(FINGER_ROOTS, FINGER_LENGTHS, strict=True)):
        start = wrist + (frame @ np.array([root * scale, PALM_LENGTH * scale, 0.0]))
        first = frame @ about_x(-curl * 0.75)
        second = frame @ about_x(-curl * 1.6)
        bones[f"finger{index}a"] = compose(first, start)
        bones[f"finger{index}b"] = compose(second, start + first[:, :, 1] * length * scale)
    spread = frame @ rotations(np.zeros_like(curl), -0.5 * curl, np.full_like(curl, -side * 0.75))
    start = wrist + frame @ np.array([side * 0.036 * scale, 0.03 * scale, -0.006 * scale])
    bent = spread @ rotations(np.zeros_like(curl), -0.5 * curl, np.full_like(curl, side * 0.45))
    bones["thumb_a"] = compose(spread, start)
    bones["thumb_b"] = compose(bent, start + spread[:, :, 1] * 0.042 * scale)
    return bones


def about_x(angle: Vector) -> Vector:
    zeros = np.zeros_like(angle)
    return rotations(zeros, angle, zeros)


def compose(rotation: Vector, position: Vector) -> Vector:
    matrices = np.tile(np.eye(4), (len(position), 1, 1))
    matrices[:, :3, :3] = rotation
    matrices[:, :3, 3] = position
    return matrices


def forearm_transform(elbow: Vector, wrist: Vector) -> Vector:
    """Stretches the unit forearm from elbow to wrist."""
    along = wrist - elbow
    length = np.linalg.norm(along, axis=1, keepdims=True)
    along = along / length
    across = np.cross(along, np.array([0.0, 0.0, 1.0]))
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    frame = np.stack([across, along * length, np.cross(across, along)], -1)
    return compose(frame, elbow)
