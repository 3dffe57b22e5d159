"""Protocol P4: long clips are looked at in short windows, and sensors fail for single windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..data.manifest import Segment
from ..data.missing import WindowOutage
from ..data.reading import find_bounds
from .evaluate import Accuracies, SubsetLogits
from .metrics import accuracies, correctness

WINDOW_SECONDS = 2.13


def cut_windows(segments: Sequence[Segment], window_seconds: float = WINDOW_SECONDS) -> tuple[list[Segment], list[int]]:
    """Each segment as consecutive windows of about that length (a whole number of equal pieces), and whose each one is."""
    windows, owners = [], []
    for owner, segment in enumerate(segments):
        start, stop = find_bounds(segment)
        count = max(math.floor((stop - start) / window_seconds), 1)
        for piece in range(count):
            first, last = (start + (stop - start) * edge / count for edge in (piece, piece + 1))
            windows.append(replace(segment, name=f"{segment.name}#{piece}", start_seconds=first, stop_seconds=last))
            owners.append(owner)
    return windows, owners


def window_accuracies(logits: SubsetLogits, owners: Tensor, missing: tuple[str, ...], rate: float, seed: int = 0) -> Accuracies:
    """Percent over clips whose windows `(windows,)` lose modalities at a rate; a clip's answer is the mean of its logits.

    A clip of which nothing is left in any window is not counted.
    """
    generator = torch.Generator().manual_seed(seed)
    presence = WindowOutage(missing, rate).presence(logits.available, logits.modalities, generator)
    clips, index = owners.unique(return_inverse=True)
    kept = presence.any(1)
    counts = torch.zeros(len(clips)).index_add(0, index[kept], torch.ones(int(kept.sum())))
    some = counts > 0
    means, labels = {}, {}
    for head, values in logits.logits_under(presence).items():
        total = torch.zeros(len(clips), values.shape[1]).index_add(0, index[kept], values[kept].float())
        means[head] = total[some] / counts[some, None]
        labels[head] = torch.zeros(len(clips), dtype=torch.long).scatter(0, index, logits.labels[head])[some]
    return accuracies(correctness(means, labels), torch.ones(int(some.sum()), dtype=torch.bool))
