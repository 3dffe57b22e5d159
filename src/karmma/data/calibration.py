"""Model inputs of some segments, for finding the ranges of an int8 graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..modalities import make_for_fixed_looks
from ..types import KarmmaError
from .manifest import Segment
from .reading import read_segment


def calibration_inputs(
    segments: Sequence[Segment], settings: Mapping[str, Mapping[str, Any]], count: int, seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    """Fixed views `(up to count, *input_shape)` by modality of random segments that have everything. Raises KarmmaError."""
    modalities = make_for_fixed_looks(settings)
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in modalities}
    for index in np.random.default_rng(seed).permutation(len(segments)).tolist():
        arrays = read_segment(segments[index], modalities).arrays
        if set(arrays) != set(modalities):
            continue
        for name, stored in arrays.items():
            found[name].append(modalities[name].transform(torch.from_numpy(stored)[None], None)[0].numpy())
        if len(found[name]) == count:
            break
    if not all(found.values()):
        raise KarmmaError(f"no segment has all of {', '.join(modalities)}; calibration needs some that do")
    return {name: np.stack(values) for name, values in found.items()}
