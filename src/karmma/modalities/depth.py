"""Depth video: whole pictures, or three views of a segmented person."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from ..augmentation import Augmentation
from ..config import STRICT, Amount, Count, Positive, Share
from ..media.body import crop_to_body, draw_views, find_body, find_points
from ..media.containers import MediaError
from ..media.depth_pictures import METRES, read_depth_film
from ..media.live import ArrayBuffer
from ..media.pictures import PictureSequence, read_picture_depths
from ..media.series import SUFFIXES, Series, key_in_file, read_series
from ..types import ModalitySpec
from .base import crop, mirror_pictures, pick_instants, sample_seconds, warped_positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from ..later import torch

LOOKED_SECONDS = (0.0, 0.3, 0.6)  # of a film, whose unit and background are looked at
SHORTEST_METRES, LONGEST_METRES = 0.05, 50.0  # between which the median of a depth camera lies
MOST_OF_PICTURE = 0.5  # that a person fills


@dataclass(frozen=True, config=STRICT)
class Depth:
    """`frames` depth pictures spread evenly over a segment.

    `content="person"` draws a segmented person (background 0) from the front, the side and above, next to each other:
    `(frames, size, 2·size, 1)`. `content="picture"` keeps the picture as nearness up to `far_metres`:
    `(frames, size, size·5/4, 1)`. Sources: .mat (`d_depth`, height × width × time, millimetres), .npz (`depth_metres`,
    time × height × width, and `seconds`), films of 16-bit grey, in millimetres (FFV1 or PNG in .mkv or .mov), or pictures of it.
    """

    frames: Count = 16
    size: Count = 64
    content: Literal["picture", "person"] = "picture"
    margin: Amount = 0.25  # what random shifts have to spare
    near_metres: Positive = 0.4  # person: how far before the trunk; picture: no meaning
    far_metres: Positive = 3.0  # person: how far behind the trunk; picture: farthest visible
    trim: Share = 0.12
    bend: Amount = 0.3
    pace: Amount = 0.0  # how much speed drifts within a segment: deviation of its logarithm
    stretch: Share = 0.1
    gain: Share = 0.2
    turn_degrees: Amount = 0.0  # person: how far it is turned about the vertical, to either side
    turns: Count = 2  # person: so many directions to either side, beside that of the fixed look

    @property
    def directions(self) -> list[float]:
        """Degrees by which a stored person is turned, that of the fixed look, 0, first."""
        if self.content == "picture" or not self.turn_degrees:
            return [0.0]
        return sorted(np.linspace(-self.turn_degrees, self.turn_degrees, 2 * self.turns + 1).tolist(), key=abs)

    def for_fixed_look(self) -> Depth:
        return replace(self, turn_degrees=0.0)

    @property
    def stored_size(self) -> int:
        return 2 * round(self.size * (1 + self.margin) / 2)

    @property
    def width(self) -> int:
        return 2 * self.size if self.content == "person" else self.size * 5 // 4

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec("depth", (self.frames, self.size, self.width, 1), "frames height width channels")

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.uint8] | None:
        if not source.is_file():
            return None
        moments = np.array(sample_seconds(start_seconds, stop_seconds, 2 * self.frames))
        if source.suffix.lower() not in SUFFIXES:
            return self.stored(read_depth_film(source, moments.tolist()), METRES)
        series, unit_metres = read_depths(source), METRES if source.suffix == ".mat" else np.float32(1)
        if not series.covers(start_seconds, stop_seconds):
            return None
        return self.stored(series.nearest(moments, start_seconds, stop_seconds, gap=0.0), unit_metres)

    def read_pictures(self, source: PictureSequence, start_seconds: float, stop_seconds: float) -> NDArray[np.uint8] | None:
        return self.stored(read_picture_depths(source, sample_seconds(start_seconds, stop_seconds, 2 * self.frames)), METRES)

    def read_live(self, source: ArrayBuffer, start_seconds: float, stop_seconds: float) -> NDArray[np.uint8] | None:
        series = source.series()
        if series is None or not series.covers(start_seconds, stop_seconds):
            return None
        moments = np.array(sample_seconds(start_seconds, stop_seconds, 2 * self.frames))
        return self.stored(series.nearest(moments, start_seconds, stop_seconds), METRES)

    def doubt(self, source: Path) -> str:
        """What speaks against a file's unit or, where a person is wanted, its background; .mat files are trials of UTD-MHAD."""
        suffix = source.suffix.lower()
        if suffix == ".mat":
            return ""
        if suffix not in SUFFIXES:
            return self.doubt_pictures(read_depth_film(source, LOOKED_SECONDS) * METRES)
        pictures = read_depths(source).values
        return self.doubt_pictures(pictures[np.linspace(0, len(pictures) - 1, len(LOOKED_SECONDS)).astype(int)])

    def doubt_live(self, source: ArrayBuffer) -> str:
        """What speaks against the last picture that came."""
        last = source.newest()
        return "" if last is None else self.doubt_pictures(last[None] * METRES)

    def doubt_pictures(self, metres: NDArray[np.float32]) -> str:
        """What speaks against some depth pictures `(pictures, height, width)`."""
        measured = (metres > 0) & np.isfinite(metres)
        if not measured.any():
            return ""
        usual, share = float(np.median(metres[measured])), float(measured.mean())
        if not SHORTEST_METRES < usual < LONGEST_METRES:
            return f"the median depth is {usual:.4g} m: in another unit?"
        if self.content == "person" and share > MOST_OF_PICTURE:
            return f"{100 * share:.0f} % of the picture is not empty: a person alone is wanted, and 0 for all else"
        return ""

    def stored(self, depths: NDArray[Any], unit_metres: np.float32) -> NDArray[np.uint8] | None:
        """The stored form of depth pictures `(2 · frames, height, width)` in some unit."""
        if self.content == "person":
            return self.person(crop_to_body(depths) * unit_metres)
        return self.pictures(depths * unit_metres)

    def person(self, metres: NDArray[np.float32]) -> NDArray[np.uint8] | None:
        """Stored views of each direction, or None if no frame shows anybody."""
        frame = find_body(metres)
        if frame is None:
            return None
        points = find_points(metres, frame, self.stored_size)
        size, near, far = self.stored_size, self.near_metres, self.far_metres
        return np.stack([draw_views(points.turned(degrees), size, near, far) for degrees in self.directions], 1)

    def pictures(self, metres: NDArray[np.float32]) -> NDArray[np.uint8]:
        height = self.stored_size
        near = np.where(metres > 0, np.clip(1 - metres / self.far_metres, 0, 1), 0).astype(np.float32)
        small = [cv2.resize(picture, (height * 5 // 4, height), interpolation=cv2.INTER_AREA) for picture in near]
        return np.rint(np.stack(small) * 255).astype(np.uint8)

    def stored_zeros(self) -> NDArray[np.uint8]:
        side = self.stored_size
        if self.content == "person":
            return np.zeros((2 * self.frames, len(self.directions), side, 2 * side), np.uint8)
        return np.zeros((2 * self.frames, side, side * 5 // 4), np.uint8)

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        batch = len(stored)
        positions = warped_positions(batch, stored.shape[1], self.frames, augmentation, self.trim, self.bend, self.pace)
        index = positions.round().long()
        if self.content == "person":
            return self.brightened(self.views(stored, index, augmentation).float(), augmentation)
        pictures = crop(pick_instants(stored, index).unsqueeze(-1), self.size, self.width, augmentation)
        if augmentation is not None:
            pictures = mirror_pictures(pictures, augmentation.mirrored)
        return self.brightened(pictures.float(), augmentation)

    def views(self, stored: Tensor, index: Tensor, augmentation: Augmentation | None) -> Tensor:
        """Front, side and top at the instants `index`, from one direction per clip, each cut to size, next to each other."""
        directions = stored.shape[2]
        index = index * directions
        if augmentation is not None and directions > 1:
            index = index + augmentation.integers((len(stored), 1), directions)
        chosen = pick_instants(stored.flatten(1, 2), index).unsqueeze(-1)
        panels = self.shifted(chosen.split([self.stored_size, self.stored_size // 2, self.stored_size // 2], 3), augmentation)
        if augmentation is not None:
            panels[0] = mirror_pictures(panels[0], augmentation.mirrored)
            panels[2] = mirror_pictures(panels[2], augmentation.mirrored, axis=2)
        return torch.cat(panels, 3)

    def shifted(self, views: tuple[Tensor, ...], augmentation: Augmentation | None) -> list[Tensor]:
        """Cut each view to size; the shifts along x, y and z are the same in all views that show the axis."""
        spare = self.stored_size - self.size
        middle = torch.full((len(views[0]), 3), spare // 2)
        middle[:, 2] = spare // 4
        if augmentation is not None:
            reach = torch.tensor([spare * 5 // 16, spare * 5 // 16, spare * 3 // 16])
            middle = middle + (augmentation.uniform(middle.shape, -1, 1) * (reach + 0.5)).round().long().clamp(-reach, reach)
        x, y, z = middle.unbind(1)
        half = self.size // 2
        return [
            cut(views[0], y, x, self.size, self.size),
            cut(views[1], y, z, self.size, half),
            cut(views[2], x, z, self.size, half),
        ]

    def brightened(self, pictures: Tensor, augmentation: Augmentation | None) -> Tensor:
        """Levels 0–255 to values 0–2; while training with gain and vertical stretch, as one product of matrices."""
        if augmentation is None:
            return pictures * (2 / 255)
        batch = len(pictures)
        gain = augmentation.uniform((batch, 1, 1), 1 - self.gain, 1 + self.gain)
        stretch = 1 + augmentation.uniform((batch,), -self.stretch, self.stretch)
        rows = stretched_rows(self.size, stretch) * gain * (2 / 255)
        return torch.matmul(rows[:, None], pictures[..., 0]).unsqueeze(-1)


def read_depths(source: Path) -> Series:
    """The depth pictures of an array, `(time, height, width)`, no numbers where nothing was measured. Raises MediaError."""
    series = read_series(source, *key_in_file("depth", source.suffix), gaps=True)
    if series.values.ndim != 3:
        raise MediaError(f"{source}: depth has shape {series.values.shape}, expected time, height and width")
    return series


def stretched_rows(height: int, stretch: Tensor) -> Tensor:
    """Weights `(batch, height, height)` of a picture's rows in those of one that shows `stretch` times as much of it."""
    places = torch.arange(height)
    middle = (height - 1) / 2
    sources = (places - middle) * stretch[:, None] + middle
    return (1 - (sources[:, :, None] - places).abs()).clamp(min=0)


def cut(pictures: Tensor, tops: Tensor, lefts: Tensor, height: int, width: int) -> Tensor:
    """Crop each clip of `(batch, T, H, W, C)` at its own place."""
    pairs = zip(pictures, tops.tolist(), lefts.tolist(), strict=True)
    return torch.stack([clip[:, y : y + height, x : x + width] for clip, y, x in pairs])
