"""Clips as signals over time, `(batch, channels, steps)`: what small extractors and random kernels read."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from ..types import KarmmaError, ModalitySpec

KINECT_JOINTS = 20
KINECT_ENDS = (0, 1, 2, 3, 5, 7, 9, 11, 15, 19)  # head, neck, spine, hip, elbows, hands, feet
KINECT_PAIRS = list(zip(*combinations(KINECT_ENDS, 2), strict=True))
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


def joint_distances(poses: Tensor) -> Tensor:
    """How far head, trunk, elbows, hands and feet are from each other, `(batch, frames, pairs)`, of Kinect's twenty joints.

    No turn of the body alters them (joint collection distances of DD-Net, Yang et al., 2019).
    """
    one, other = KINECT_PAIRS
    return (poses[:, :, one] - poses[:, :, other]).norm(dim=-1)


def pose_signals(clips: Tensor) -> Tensor:
    """Places of joints and, for Kinect's, distances between them, each with its change, of clips `(batch, frames, joints, 3)`."""
    values = clips.flatten(2)
    if clips.shape[2] == KINECT_JOINTS:
        values = torch.cat([values, joint_distances(clips)], -1)
    return with_change(values)


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


SIGNALS = {
    "samples axes": inertial_signals,
    "frames joints xyz": pose_signals,
    "frames height width channels": picture_signals,
    "frames height width xy": picture_signals,
    "mel-bands frames": spectral_signals,
    "frames boxes features": flat_signals,
    "moments width": flat_signals,
}


def signals(spec: ModalitySpec, clips: Tensor) -> Tensor:
    """Signals `(batch, channels, steps)` of clips of a modality. Raises KarmmaError for a layout without a rule."""
    if spec.layout not in SIGNALS:
        raise KarmmaError(f"no signals over time are known for {spec.name} ({spec.layout}); there are: {', '.join(SIGNALS)}")
    return SIGNALS[spec.layout](clips)
