"""What a hand-object detector would report: visible boxes of hands and things, with misses, jitter and false boxes.

Things are not named: like the detectors run on EPIC-KITCHENS, this one only tells hands from objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fixtures import Part
from .objects import Random

LEFT_HAND, RIGHT_HAND, OBJECT = "left hand", "right hand", "object"
Edges = tuple[float, float, float, float]  # left, top, right, bottom as shares of the picture


@dataclass(frozen=True)
class Box:
    """A detection: label, score 0–1, and edges as shares of the picture's width and height."""

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


class Detector:
    """Finds the visible extent of every owner in a frame's faces and spoils it as a detector would."""

    def __init__(self, parts: dict[str, Part], part_of_face: NDArray[np.int32], noise_level: float, random: Random) -> None:
        self.owners = sorted({part.owner for part in parts.values() if part.owner is not None})
        owner_of_part = np.array([self.owners.index(part.owner) if part.owner else -1 for part in parts.values()])
        self.owner_of_face = np.append(owner_of_part[part_of_face], -1)
        self.noise_level, self.random = noise_level, random

    def detect(self, faces: NDArray[np.int32]) -> list[Box]:
        """Boxes of one frame, given the face each pixel shows `(H, W)`."""
        owners = self.owner_of_face[faces]
        height, width = owners.shape
        seen: list[tuple[str, Edges, float]] = []
        for owner in np.unique(owners[owners >= 0]):
            rows, columns = np.nonzero(owners == owner)
            if len(rows) < 12:
                continue
            name = self.owners[owner]
            label = name if name in (LEFT_HAND, RIGHT_HAND) else OBJECT
            edges = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
            seen.append((label, edges, len(rows) / (width * height)))
        found = [self.spoil(label, self.merge(index, seen), share) for index, (label, _, share) in enumerate(seen)]
        return [box for box in found if box is not None] + self.invent()

    def merge(self, index: int, seen: list[tuple[str, Edges, float]]) -> Edges:
        """The extent of a find; a thing is sometimes taken together with something that it overlaps."""
        label, own, _ = seen[index]
        if label != OBJECT or self.random.random() >= 0.3 * self.noise_level:
            return own
        others = [edges for at, (_, edges, _) in enumerate(seen) if at != index and overlap(own, edges)]
        if not others:
            return own
        other = others[self.random.integers(len(others))]
        return (min(own[0], other[0]), min(own[1], other[1]), max(own[2], other[2]), max(own[3], other[3]))

    def spoil(self, label: str, edges: Edges, share: float) -> Box | None:
        """Miss it (small ones more often), jitter its edges (a thing's more than a hand's), sometimes swap the hands."""
        miss = self.noise_level * ((0.08 if label != OBJECT else 0.22) + 0.35 * np.exp(-share / 0.004))
        if self.random.random() < miss:
            return None
        if label != OBJECT and self.random.random() < 0.03 * self.noise_level:
            label = LEFT_HAND if label == RIGHT_HAND else RIGHT_HAND
        width, height = edges[2] - edges[0], edges[3] - edges[1]
        deviation = (0.06 if label != OBJECT else 0.16) * self.noise_level
        jitter = self.random.normal(0, deviation, 4) * (width, height, width, height)
        left, top, right, bottom = np.clip(np.array(edges) + jitter, 0, 1)
        score = float(np.clip(1 - 0.4 * np.exp(-share / 0.01) - abs(self.random.normal(0, 0.1)), 0.3, 0.99))
        return Box(label, score, float(left), float(top), float(max(right, left + 0.01)), float(max(bottom, top + 0.01)))

    def invent(self) -> list[Box]:
        """False boxes."""
        boxes = []
        for _ in range(self.random.poisson(0.35 * self.noise_level)):
            left, top = self.random.uniform(0, 0.8, 2)
            width, height = self.random.uniform(0.05, 0.2, 2)
            boxes.append(
                Box(
                    OBJECT,
                    float(self.random.uniform(0.3, 0.7)),
                    float(left),
                    float(top),
                    float(left + width),
                    float(top + height),
                )
            )
        return boxes


def overlap(one: Edges, other: Edges) -> bool:
    """Whether two boxes share any area."""
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])
