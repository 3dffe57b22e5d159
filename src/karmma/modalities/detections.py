"""Boxes of hands and objects per frame, as hand-object detectors report them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from ..augmentation import Augmentation
from ..config import STRICT, Count, Positive, Probability
from ..media.containers import MediaError
from ..media.live import RowBuffer
from ..media.tables import EDGES, SENSOR_COLUMNS, Columns, read_table, require_finite, rows_between
from ..types import ModalitySpec
from .base import pick_frames, sample_seconds

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from ..later import torch

HAND = "hand"  # what every label of a hand ends with
OUTSIDE = 0.2  # of a picture's size beyond its edges, where no detector sees anything


@dataclass(frozen=True, config=STRICT)
class Detections:
    """`frames` instants with up to `boxes` boxes each: edges as shares of the picture, score, label. Score 0 is no box.

    `labels` are what a detector tells apart; labels of hands come first. A box with another label is an error.
    """

    frames: Count = 8
    boxes: Count = 6
    step_seconds: Positive = 0.2
    minimum_score: Probability = 0.3
    labels: tuple[str, ...] = ("left hand", "right hand", "object")

    def __post_init__(self) -> None:
        hands = [label.endswith(HAND) for label in self.labels]
        if not self.labels or len(set(self.labels)) != len(self.labels) or hands != sorted(hands, reverse=True):
            raise ValueError(f"labels must be named once each, hands first, not {', '.join(self.labels) or 'nothing'}")

    @property
    def features(self) -> int:
        """Four edges, score, one-hot label."""
        return len(EDGES) + 1 + len(self.labels)

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec("detections", (self.frames, self.boxes, self.features), "frames boxes features")

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        if not source.is_file():
            return None
        rows = rows_between(read_table(source, SENSOR_COLUMNS["detections"]), start_seconds - 1.0, stop_seconds + 1.0)
        require_finite(source, rows)
        self.check_labels(source, rows)
        return self.boxes_of(rows, start_seconds, stop_seconds)

    def read_live(self, source: RowBuffer, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        rows = source.columns(start_seconds - 1.0, stop_seconds + 1.0)
        if not len(rows["seconds"]):
            return None
        self.check_labels("detections", rows)
        return self.boxes_of(rows, start_seconds, stop_seconds)

    def doubt(self, source: Path) -> str:
        """What speaks against the units of a table."""
        return doubt_boxes(read_table(source, SENSOR_COLUMNS["detections"]))

    def doubt_live(self, source: RowBuffer) -> str:
        """What speaks against the units of what a detector says."""
        return doubt_boxes(source.columns(-np.inf, np.inf))

    def boxes_of(self, rows: Columns, start_seconds: float, stop_seconds: float) -> NDArray[np.float32]:
        """The stored form of a segment out of a detector's rows."""
        stored = np.zeros((2 * self.frames, self.boxes, self.features), np.float32)
        for index, second in enumerate(sample_seconds(start_seconds, stop_seconds, 2 * self.frames)):
            stored[index] = self.boxes_at(rows, second)
        return stored

    def check_labels(self, source: Path | str, rows: Columns) -> None:
        unknown = sorted(set(rows["label"]) - set(self.labels))
        if unknown:
            raise MediaError(f"{source}: unknown label {unknown[0]!r}; detections.labels are {', '.join(self.labels)}")

    def boxes_at(self, rows: Columns, second: float) -> NDArray[np.float32]:
        """Boxes of the detector's frame nearest to `second`: first the best of each hand, then objects nearest to hands."""
        found = np.zeros((self.boxes, self.features), np.float32)
        if len(rows["seconds"]) == 0:
            return found
        moment = rows["seconds"][np.abs(rows["seconds"] - second).argmin()]
        if abs(moment - second) > self.step_seconds:
            return found
        here = np.flatnonzero((rows["seconds"] == moment) & (rows["score"] >= self.minimum_score))
        edges = np.stack([rows[edge][here] for edge in EDGES], -1)
        labels = np.array([self.labels.index(label) for label in rows["label"][here]], int)
        order = self.order(edges, labels, rows["score"][here])
        for slot, index in enumerate(order[: self.boxes]):
            found[slot, :4], found[slot, 4] = edges[index], rows["score"][here[index]]
            found[slot, 5 + labels[index]] = 1
        return found

    def order(self, edges: NDArray[np.float64], labels: NDArray[np.int_], scores: NDArray[np.float64]) -> list[int]:
        sides = [kind for kind, label in enumerate(self.labels) if label.endswith(HAND)]
        each = 1 if len(sides) > 1 else 2  # hands that a detector gives per label
        best = [
            int(index) for kind in sides for index in sorted(np.flatnonzero(labels == kind), key=lambda i: -scores[i])[:each]
        ]
        objects = np.flatnonzero(~np.isin(labels, sides))
        centres = (edges[:, :2] + edges[:, 2:]) / 2
        reference = centres[best] if best else np.array([[0.5, 0.6]])
        distance = np.linalg.norm(centres[objects][:, None] - reference[None], axis=-1).min(1)
        return best + objects[np.argsort(distance, kind="stable")].tolist()

    def stored_zeros(self) -> NDArray[np.float32]:
        return np.zeros((2 * self.frames, self.boxes, self.features), np.float32)

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        boxes = pick_frames(stored, self.frames, augmentation).clone()
        if augmentation is None:
            return boxes
        boxes = torch.where(augmentation.mirrored.view(-1, 1, 1, 1), self.mirror(boxes), boxes)
        there = boxes[..., 4:5] > 0
        moved = augmentation.normal((len(boxes), 1, 1, 2), 0.03)
        boxes[..., :4] += moved.repeat(1, 1, 1, 2) + augmentation.normal(boxes[..., :4].shape, 0.01)
        kept = augmentation.uniform((*boxes.shape[:3], 1), 0, 1) > 0.08
        return boxes * (there & kept)

    def mirror(self, boxes: Tensor) -> Tensor:
        """Boxes of the mirrored picture: edges swapped, left hands become right hands."""
        there = (boxes[..., 4:5] > 0).to(boxes.dtype)
        left, top, right, bottom = boxes[..., :4].unbind(-1)
        edges = torch.stack([1 - right, top, 1 - left, bottom], -1) * there
        other = {"left hand": "right hand", "right hand": "left hand"}
        swapped = [other[label] if other.get(label) in self.labels else label for label in self.labels]
        order = [self.labels.index(label) for label in swapped]
        return torch.cat([edges, boxes[..., 4:5], boxes[..., 5:][..., order]], -1)


def doubt_boxes(rows: Columns) -> str:
    """What speaks against boxes whose edges are shares of the picture; nothing if most look right."""
    edges = np.stack([rows[edge] for edge in EDGES], -1).astype(np.float64)
    if not len(edges):
        return ""
    with np.errstate(invalid="ignore"):
        outside = ((edges < -OUTSIDE) | (edges > 1 + OUTSIDE)).any(1).mean()
        turned = ((edges[:, 2] < edges[:, 0]) | (edges[:, 3] < edges[:, 1])).mean()
    if outside > 0.5:
        return f"{100 * outside:.0f} % of the boxes lie outside the picture, which goes from 0 to 1: in pixels?"
    if turned > 0.5:
        return f"{100 * turned:.0f} % of the boxes end before they begin: width and height in place of right and bottom?"
    return ""
