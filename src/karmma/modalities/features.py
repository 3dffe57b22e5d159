"""Features that somebody else has computed over time, e.g. of a large video network; any name ending in `_features`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from ..augmentation import Augmentation
from ..config import STRICT, Amount, Count, Positive, Share
from ..media.containers import MediaError
from ..media.series import Series, read_series
from ..types import ModalitySpec
from .base import sample_linearly, sample_seconds, warped_positions

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, config=STRICT)
class Features:
    """`tokens` moments spread evenly over a segment, each a vector of `width` numbers.

    Sources: .npy (time × width: spans the segment), .npz (`features` time × width, and `seconds`), .mat (`features`).
    With `rate_hz` row i lies at (i + ½) / rate instead, in seconds from the start of the recording. `jitter_deviation` is
    noise while training, as a share of each clip's own deviation.
    """

    width: Count
    tokens: Count = 8
    rate_hz: Positive | None = None
    trim: Share = 0.1
    bend: Amount = 0.1
    jitter_deviation: Amount = 0.0

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec("features", (self.tokens, self.width), "moments width")

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.float16] | None:
        if not source.is_file():
            return None
        series = read_series(source, "features")
        if series.values.shape[1:] != (self.width,):
            raise MediaError(f"{source}: features of shape {series.values.shape[1:]}, expected ({self.width},)")
        if self.rate_hz is not None and series.seconds is None:
            series = Series(series.values, np.arange(0.5, len(series.values), dtype=np.float64) / self.rate_hz, series.source)
        if not series.covers(start_seconds, stop_seconds):
            return None
        moments = np.array(sample_seconds(start_seconds, stop_seconds, 2 * self.tokens))
        return series.at(moments, start_seconds, stop_seconds).astype(np.float16)

    def stored_zeros(self) -> NDArray[np.float16]:
        return np.zeros((2 * self.tokens, self.width), np.float16)

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        positions = warped_positions(len(stored), stored.shape[1], self.tokens, augmentation, self.trim, self.bend)
        values = sample_linearly(stored.float(), positions)
        if augmentation is None or not self.jitter_deviation:
            return values
        deviation = values.std((1, 2), keepdim=True)
        return values + deviation * augmentation.normal(values.shape, self.jitter_deviation)
