"""Boxes of hands and objects per frame, as hand-object detectors report them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import STRICT
from ..media.tables import Columns, read_table, rows_between
from ..types import Augmentation, ModalitySpec
from .base import pick_frames, sample_seconds

LABELS = ("left hand", "right hand", "object")
FEATURES = 5 + len(LABELS)  # left, top, right, bottom, score, one-hot label


@dataclass(frozen=True, config=STRICT)
class Detections:
    """`frames` instants with up to `boxes` boxes each: edges as shares of the picture, score, label. Score 0 is no box."""

    frames: int = 8
    boxes: int = 6
    step_seconds: float = 0.2
    minimum_score: float = 0.3

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec("detections", (self.frames, self.boxes, FEATURES), "frames boxes features")

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        if not source.is_file():
            return None
        rows = rows_between(read_table(source, ("label",)), start_seconds - 1.0, stop_seconds + 1.0)
        stored = np.zeros((2 * self.frames, self.boxes, FEATURES), np.float32)
        for index, second in enumerate(sample_seconds(start_seconds, stop_seconds, 2 * self.frames)):
            stored[index] = self.boxes_at(rows, second)
        return stored

    def boxes_at(self, rows: Columns, second: float) -> NDArray[np.float32]:
        """Boxes of the detector's frame nearest to `second`: first the best of each hand, then objects nearest to hands."""
        found = np.zeros((self.boxes, FEATURES), np.float32)
        if len(rows["seconds"]) == 0:
            return found
        moment = rows["seconds"][np.abs(rows["seconds"] - second).argmin()]
        if abs(moment - second) > self.step_seconds:
            return found
        here = np.flatnonzero((rows["seconds"] == moment) & (rows["score"] >= self.minimum_score))
        edges = np.stack([rows[edge][here] for edge in ("left", "top", "right", "bottom")], -1)
        labels = np.array([LABELS.index(label) for label in rows["label"][here]], int)
        order = self.order(edges, labels, rows["score"][here])
        for slot, index in enumerate(order[: self.boxes]):
            found[slot, :4], found[slot, 4] = edges[index], rows["score"][here[index]]
            found[slot, 5 + labels[index]] = 1
        return found

    def order(self, edges: NDArray[np.float64], labels: NDArray[np.int_], scores: NDArray[np.float64]) -> list[int]:
        best = [int(hands[scores[hands].argmax()]) for kind in (0, 1) if len(hands := np.flatnonzero(labels == kind))]
        objects = np.flatnonzero(labels == 2)
        centres = (edges[:, :2] + edges[:, 2:]) / 2
        reference = centres[best] if best else np.array([[0.5, 0.6]])
        distance = np.linalg.norm(centres[objects][:, None] - reference[None], axis=-1).min(1)
        return best + objects[np.argsort(distance, kind="stable")].tolist()

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        boxes = pick_frames(stored, self.frames, augmentation).clone()
        if augmentation is None:
            return boxes
        boxes = torch.where(augmentation.mirrored.view(-1, 1, 1, 1), mirror_boxes(boxes), boxes)
        there = boxes[..., 4:5] > 0
        moved = augmentation.normal((len(boxes), 1, 1, 2), 0.03)
        boxes[..., :4] += moved.repeat(1, 1, 1, 2) + augmentation.normal(boxes[..., :4].shape, 0.01)
        kept = augmentation.uniform((*boxes.shape[:3], 1), 0, 1) > 0.08
        return boxes * (there & kept)


def mirror_boxes(boxes: Tensor) -> Tensor:
    """Boxes of the mirrored picture: edges swapped, left hands become right hands."""
    there = (boxes[..., 4:5] > 0).float()
    left, top, right, bottom = boxes[..., :4].unbind(-1)
    edges = torch.stack([1 - right, top, 1 - left, bottom], -1) * there
    return torch.cat([edges, boxes[..., 4:5], boxes[..., [6, 5, 7]]], -1)
