"""Clips as signals over time, `(batch, channels, steps)`: what small extractors and random kernels read."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ..skeletons import HANDS, LAYOUTS, SkeletonLayout
from ..types import KarmmaError, ModalitySpec

POSES, BOTH_HANDS = "frames joints xyz", "frames hands joints xyz-seen"
PICTURE_ROWS, BANDS = 8, 32  # what pictures and spectra are shrunk to for random kernels


def difference(values: Tensor) -> Tensor:
    """Of values `(batch, steps, channels)` from step to step, zero in the first."""
    return functional.pad(values[:, 1:] - values[:, :-1], (0, 0, 1, 0))


def change(values: Tensor) -> Tensor:
    """Of values `(batch, steps, channels)`, alike for any number of steps in a clip."""
    return difference(values) * (values.shape[1] / 8)


def with_change(values: Tensor) -> Tensor:
    """Values `(batch, steps, channels)` and their change as signals `(batch, 2 · channels, steps)`."""
    return torch.cat([values, change(values)], -1).transpose(1, 2)


def inertial_signals(clips: Tensor) -> Tensor:
    """Values, change and magnitudes of triples of axes, of clips `(batch, samples, axes)`."""
    strength = clips.unflatten(2, (-1, 3)).norm(dim=-1)
    return torch.cat([clips, difference(clips) * 4, strength], -1).transpose(1, 2)


def joint_distances(poses: Tensor, layout: SkeletonLayout) -> Tensor:
    """How far head, trunk, elbows, hands and feet of poses `(batch, frames, joints, 3)` are from each other, `(batch, frames, pairs)`.

    No turn of the body alters them (joint collection distances of DD-Net, Yang et al., 2019).
    """
    one, other = (list(ends) for ends in layout.pairs)
    return (poses[:, :, one] - poses[:, :, other]).norm(dim=-1)


def pose_signals(clips: Tensor, skeleton: str = "") -> Tensor:
    """Places of joints and, where the layout is known, distances, each with its change, of clips `(batch, frames, joints, 3)`."""
    values = clips.flatten(2)
    if skeleton:
        values = torch.cat([values, joint_distances(clips, LAYOUTS[skeleton])], -1)
    return with_change(values)


def hand_features(clips: Tensor, hand: SkeletonLayout) -> Tensor:
    """Of each moment of both hands `(batch, frames, 2, joints, 4)`, as `(batch, frames, features)`: joints from the wrist, the wrist's
    place, distances between wrist and finger tips, how these change, where the right wrist is from the left one, who is in view.

    What is not in view, or was not a moment before, is 0.
    """
    seen, wrists = clips[..., :1, 3], clips[:, :, :, hand.hip[0], :3]
    joints = (clips[..., :3] - wrists.unsqueeze(3)).flatten(3) * seen
    one, other = (list(ends) for ends in hand.pairs)
    tips = (clips[:, :, :, one, :3] - clips[:, :, :, other, :3]).norm(dim=-1)
    own = torch.cat([joints, wrists, tips], -1)
    before = functional.pad(seen[:, :-1], (0, 0, 0, 0, 1, 0))
    changes = change(own.flatten(2)).view_as(own) * seen * before
    apart = (wrists[:, :, 1] - wrists[:, :, 0]) * seen.prod(2)
    return torch.cat([own.flatten(2), changes.flatten(2), apart, seen.flatten(2)], -1)


def hand_signals(clips: Tensor, hand: str) -> Tensor:
    """The same as signals."""
    return hand_features(clips, HANDS[hand]).transpose(1, 2)


def picture_signals(clips: Tensor) -> Tensor:
    """Eight rows of mean brightness and their change, of clips `(batch, frames, height, width, channels)`."""
    batch, frames, height, width, _ = clips.shape
    columns = PICTURE_ROWS * max(width // height, 1)
    pictures = clips.permute(0, 1, 4, 2, 3).flatten(0, 1)
    size = (height // PICTURE_ROWS, width // columns)
    small = functional.avg_pool2d(pictures, size, size)[:, :, :PICTURE_ROWS, :columns] if min(size) else pictures
    return with_change(small.flatten(1).unflatten(0, (batch, frames)))


def spectral_signals(clips: Tensor) -> Tensor:
    """Loudness of bands and its change, of clips `(batch, bands, frames)`."""
    bands = max(clips.shape[1] // BANDS, 1)
    return with_change(functional.avg_pool1d(clips.transpose(1, 2), bands))


def flat_signals(clips: Tensor) -> Tensor:
    """All values of a moment and their change, of clips `(batch, moments, …)`."""
    return with_change(clips.flatten(2).float())


OF_JOINTS: dict[str, Callable[[Tensor, str], Tensor]] = {  # which are told, too, which joint is which
    POSES: pose_signals, BOTH_HANDS: hand_signals,
}  # fmt: skip
SIGNALS = {
    "samples axes": inertial_signals,
    "frames height width channels": picture_signals,
    "frames height width xy": picture_signals,
    "mel-bands frames": spectral_signals,
    "frames boxes features": flat_signals,
    "moments width": flat_signals,
}


def signals(spec: ModalitySpec, clips: Tensor) -> Tensor:
    """Signals `(batch, channels, steps)` of clips of a modality. Raises KarmmaError for a layout without a rule."""
    if spec.layout in OF_JOINTS:
        return OF_JOINTS[spec.layout](clips, spec.skeleton)
    if spec.layout not in SIGNALS:
        known = ", ".join((*OF_JOINTS, *SIGNALS))
        raise KarmmaError(f"no signals over time are known for {spec.name} ({spec.layout}); there are: {known}")
    return SIGNALS[spec.layout](clips)
