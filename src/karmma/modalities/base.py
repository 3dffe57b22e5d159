"""What every modality offers: reading by seconds into a compact stored form, and turning that into a model's input."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..augmentation import Augmentation
from ..media.containers import MediaError
from ..media.pictures import PictureSequence
from ..types import ModalitySpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from ..later import torch


KNOTS = 6  # moments of a clip between which a varying factor's logarithm changes evenly


class Modality(Protocol):
    """A sensor. Implementations are frozen dataclasses whose fields are the recipe's keys below `modalities.<name>`."""

    @property
    def spec(self) -> ModalitySpec: ...

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[Any] | None:
        """The stored form of a segment, or None when the source does not have this modality there (absent, not silent)."""

    def stored_zeros(self) -> NDArray[Any]:
        """An array of the stored form's shape and type."""

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        """Stored clips `(batch, …)` to float32 inputs `(batch, *spec.input_shape)`; no augmentation means the fixed view."""


@runtime_checkable
class PictureReader(Protocol):
    """A modality that can also be read from a video cut into pictures."""

    def read_pictures(self, source: PictureSequence, start_seconds: float, stop_seconds: float) -> NDArray[Any] | None:
        """The stored form of a segment, or None when the source does not have this modality there."""


@runtime_checkable
class LiveReader(Protocol):
    """A modality that can also be read from what a sensor has delivered lately."""

    def read_live(self, source: Any, start_seconds: float, stop_seconds: float) -> NDArray[Any] | None:
        """The stored form of a stretch of time out of a buffer of media.live, or None when nothing came."""


@runtime_checkable
class LiveRows(LiveReader, Protocol):
    """One whose sensor delivers rows of numbers: another package's can then be streamed, too. Its `source` is a RowBuffer.

    Numbers may be missing from a row; what that means it knows itself.
    """

    @property
    def live_columns(self) -> tuple[str, ...]:
        """What stands in a row behind `seconds`."""


@runtime_checkable
class WindowReader(Protocol):
    """A modality that reads a window of its own length around the middle of a segment."""

    def reach(self, start_seconds: float, stop_seconds: float) -> tuple[float, float]:
        """From which second to which its model input reaches."""


@runtime_checkable
class DoubtfulFiles(Protocol):
    """A modality whose files can be read and still mean something else than they should: other units, say."""

    def doubt(self, source: Path) -> str:
        """What speaks against a file's content; nothing if it looks right. Raises MediaError."""


def doubt_file(modality: Modality, path: Path) -> str:
    """What speaks against a file's content, with its path; nothing if it looks right, or cannot be read: reading says so."""
    if not isinstance(modality, DoubtfulFiles):
        return ""
    with suppress(MediaError):
        if words := modality.doubt(path):
            return f"{path}: {words}"
    return ""


@runtime_checkable
class DoubtfulStreams(Protocol):
    """The same of what a sensor has delivered last."""

    def doubt_live(self, source: Any) -> str:
        """What speaks against the content of a buffer of media.live; nothing if it looks right."""


@runtime_checkable
class DrawnAsJoints(Protocol):
    """A modality whose clips can be drawn as joints and bones."""

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Pairs of the drawn joints; none where nobody knows."""

    def drawn_joints(self, clip: NDArray[Any]) -> NDArray[np.float32]:
        """Of a model input its joints' places `(frames, joints, 2)`, x to the right and y up; nan where one is not there."""


@runtime_checkable
class ManyLooks(Protocol):
    """A modality whose stored form holds more than the fixed look needs, for training."""

    def for_fixed_look(self) -> Modality:
        """The same modality, whose stored form holds no more than that; the fixed look at it is the same."""


def offsets_of(files: Mapping[str, Any], modalities: Mapping[str, Modality]) -> dict[Any, float]:
    """By file, how many seconds its clock is ahead of its recording's, as the modality that reads it says."""
    return {path: getattr(modalities.get(name), "offset_seconds", 0.0) for name, path in files.items()}


def span_of(modality: Modality, start_seconds: float, stop_seconds: float) -> tuple[float, float]:
    """From which second to which a modality looks at a segment: the segment, or a window around its middle."""
    if isinstance(modality, WindowReader):
        return modality.reach(start_seconds, stop_seconds)
    return start_seconds, stop_seconds


def sample_seconds(start_seconds: float, stop_seconds: float, count: int) -> list[float]:
    """Centres of `count` equal pieces of a segment."""
    return [start_seconds + (stop_seconds - start_seconds) * (index + 0.5) / count for index in range(count)]


def window(start_seconds: float, stop_seconds: float, seconds: float) -> tuple[float, float]:
    """A window of fixed length around the middle of a segment."""
    middle = (start_seconds + stop_seconds) / 2
    return middle - seconds / 2, middle + seconds / 2


def pick_frames(stored: Tensor, frames: int, augmentation: Augmentation | None) -> Tensor:
    """`frames` of twice as many stored instants `(batch, 2·frames, …)`: of every pair one, at random while training."""
    batch = len(stored)
    second = torch.zeros(batch, frames, dtype=torch.long)
    if augmentation is not None:
        second = augmentation.integers((batch, frames), 2)
    index = torch.arange(frames) * 2 + second
    return pick_instants(stored, index)


def pick_instants(stored: Tensor, index: Tensor) -> Tensor:
    """Of each clip `(batch, time, …)` the instants `index` `(batch, count)`; whole pictures are copied, not single values."""
    clips = torch.arange(len(stored))[:, None]
    return stored.flatten(0, 1).index_select(0, (clips * stored.shape[1] + index).flatten()).unflatten(0, index.shape)


def crop(pictures: Tensor, height: int, width: int, augmentation: Augmentation | None) -> Tensor:
    """Crop `(batch, T, H, W, C)` to height × width: the middle, or one random place per clip while training."""
    free_y, free_x = pictures.shape[2] - height, pictures.shape[3] - width
    if augmentation is None:
        y, x = free_y // 2, free_x // 2
        return pictures[:, :, y : y + height, x : x + width]
    ys = augmentation.integers((len(pictures),), free_y + 1).tolist()
    xs = augmentation.integers((len(pictures),), free_x + 1).tolist()
    return torch.stack([clip[:, y : y + height, x : x + width] for clip, y, x in zip(pictures, ys, xs, strict=True)])


def mirror_pictures(pictures: Tensor, mirrored: Tensor, axis: int = 3) -> Tensor:
    """Flip the marked clips `(batch, T, H, W, C)` left–right, or along another axis."""
    if not mirrored.any():
        return pictures
    return torch.where(mirrored.view(-1, 1, 1, 1, 1), pictures.flip(axis), pictures)


def warped_positions(
    batch: int, stored: int, count: int, augmentation: Augmentation | None, trim: float, bend: float, pace: float = 0.0
) -> Tensor:
    """Where to sample `stored` instants: `(batch, count)` fractional indices, evenly spread in the fixed view.

    While training up to `trim` of either end is cut off, speed drifts from moment to moment (`pace`, see `varying`), and all of it
    bends by a power in `exp(±bend)` (time warp).
    """
    even = torch.linspace(0, 1, count).expand(batch, count)
    if augmentation is None:
        return even * (stored - 1)
    first = augmentation.uniform((batch, 1), 0, trim)
    last = 1 - augmentation.uniform((batch, 1), 0, trim)
    power = augmentation.uniform((batch, 1), -bend, bend).exp()
    if pace:
        gone = varying(batch, count - 1, augmentation, pace).cumsum(1)
        even = torch.nn.functional.pad(gone / gone[:, -1:], (1, 0))
    return (first + even.pow(power) * (last - first)) * (stored - 1)


def varying(batch: int, count: int, augmentation: Augmentation, deviation: float) -> Tensor:
    """Factors `(batch, count)` around 1: one for the whole clip times one that drifts, its logarithm changing evenly between knots.

    `deviation`: of either logarithm.
    """
    knots = augmentation.normal((batch, 1, KNOTS), deviation)
    drift = torch.nn.functional.interpolate(knots, count, mode="linear", align_corners=True)[:, 0]
    return (drift + augmentation.normal((batch, 1), deviation)).exp()


def sample_linearly(stored: Tensor, positions: Tensor) -> Tensor:
    """Stored series `(batch, time, …)` at fractional positions `(batch, count)`, as `(batch, count, …)`."""
    below = positions.floor().long().clamp(max=max(stored.shape[1] - 2, 0))
    share = (positions - below).view(*positions.shape, *[1] * (stored.ndim - 2))
    rows = torch.arange(len(stored))[:, None]
    return stored[rows, below] * (1 - share) + stored[rows, (below + 1).clamp(max=stored.shape[1] - 1)] * share


def random_rotations(batch: int, augmentation: Augmentation, degrees: tuple[float, float, float]) -> Tensor:
    """Rotation matrices `(batch, 3, 3)` about x, then y, then z by up to the given angles."""
    angles = augmentation.uniform((batch, 3), -1, 1) * torch.deg2rad(torch.tensor(degrees))
    result = torch.eye(3).expand(batch, 3, 3)
    for axis in range(3):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3).repeat(batch, 1, 1)
        cosine, sine = angles[:, axis].cos(), angles[:, axis].sin()
        turn[:, one, one], turn[:, other, other] = cosine, cosine
        turn[:, one, other], turn[:, other, one] = -sine, sine
        result = turn @ result
    return result


def view(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
