"""Where somebody looks, as eye trackers in glasses and headsets say: a modality that karmma itself does not have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from karmma.augmentation import Augmentation
from karmma.config import STRICT, Amount, Count
from karmma.media.live import RowBuffer
from karmma.media.tables import Columns, read_table, rows_between
from karmma.modalities.base import sample_seconds
from karmma.types import ModalitySpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from karmma.later import torch  # who runs an exported student has none


@dataclass(frozen=True, config=STRICT)
class Gaze:
    """`samples` moments spread over a segment, of a CSV `seconds,x,y`: shares of the picture, empty cells while the eyes are closed.

    For the model x and y from the middle, and whether the eyes are open: `(samples, 3)`.
    """

    samples: Count = 32
    shift: Amount = 0.03  # of all of a segment's moments together, while training: headsets sit differently

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec("gaze", (self.samples, 3), "samples axes")

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        if not source.is_file():
            return None
        rows = rows_between(read_table(source, self.live_columns), start_seconds, stop_seconds)
        return self.looked(rows, start_seconds, stop_seconds)

    @property
    def live_columns(self) -> tuple[str, ...]:
        """So that `karmma stream CHECKPOINT gaze=tcp:9000` takes lines `seconds,x,y`."""
        return ("x", "y")

    def read_live(self, source: RowBuffer, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        return self.looked(source.columns(start_seconds, stop_seconds), start_seconds, stop_seconds)

    def looked(self, rows: Columns, start_seconds: float, stop_seconds: float) -> NDArray[np.float32] | None:
        """The moments of a segment, None where nobody's eyes were seen: absent, not somebody who looks at the corner."""
        seconds, places = rows["seconds"], np.stack([rows["x"], rows["y"]], -1)
        is_open = np.isfinite(places).all(-1)
        if not is_open.any():
            return None
        moments = sample_seconds(start_seconds, stop_seconds, self.samples)
        looked_at = [np.interp(moments, seconds[is_open], axis[is_open]) for axis in places.T]
        nearest = np.abs(seconds[:, None] - np.array(moments)).argmin(0)
        return np.stack([*looked_at, is_open[nearest]], -1).astype(np.float32)

    def stored_zeros(self) -> NDArray[np.float32]:
        return np.zeros((self.samples, 3), np.float32)

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        values = (stored - torch.tensor([0.5, 0.5, 0.0])) * torch.tensor([2.0, 2.0, 1.0])
        if augmentation is None:
            return values
        mirrored = augmentation.mirrored.view(-1, 1, 1)
        values = values.where(~mirrored, values * torch.tensor([-1.0, 1.0, 1.0]))
        return values + augmentation.normal((len(values), 1, 3), self.shift) * torch.tensor([1.0, 1.0, 0.0])
