"""Model inputs of some segments, for finding the ranges of an int8 graph."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..modalities import make_for_fixed_looks
from ..types import KarmmaError
from .manifest import Segment
from .reading import read_segment

ENOUGH_COMPLETE = 16  # samples with everything, from which on others need not help
MOST_READ = 8  # segments per sample that is wanted, before a rare sensor is looked for no longer

Inputs = dict[str, NDArray[np.float32]]


def calibration_inputs(segments: Sequence[Segment], settings: Mapping[str, Mapping[str, Any]], count: int, seed: int = 0) -> Inputs:
    """Fixed views `(up to count, *input_shape)` by modality of random segments that have everything.

    Where hardly any has, sensors of different segments are put together, and that is said. Raises KarmmaError for a modality that
    no segment has.
    """
    modalities = make_for_fixed_looks(settings)
    complete: list[Inputs] = []
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in modalities}
    for number, index in enumerate(np.random.default_rng(seed).permutation(len(segments)).tolist()):
        full = all(len(values) >= count for values in found.values())
        if len(complete) == count or (full and number >= MOST_READ * count):
            break
        stored = read_segment(segments[index], modalities).arrays
        inputs = {name: modalities[name].transform(torch.from_numpy(array)[None], None)[0].numpy() for name, array in stored.items()}
        if len(inputs) == len(modalities):
            complete.append(inputs)
        for name, values in inputs.items():
            found[name] += [values] if len(found[name]) < count else []
    if lacking := [name for name, values in found.items() if not values]:
        raise KarmmaError(f"no segment has {lacking[0]}; calibration needs some of each modality")
    if len(complete) >= min(count, ENOUGH_COMPLETE):
        return {name: np.stack([inputs[name] for inputs in complete]) for name in modalities}
    print(f"karmma: {len(complete)} segments have all of {', '.join(modalities)}: sensors of others are put together", file=sys.stderr)
    shortest = min(map(len, found.values()))
    return {name: np.stack(values[:shortest]) for name, values in found.items()}
