"""Sound as a log-mel spectrogram of a fixed window around the middle of a segment."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import STRICT
from ..media.audio import read_audio
from ..types import Augmentation, ModalitySpec
from .base import window


@lru_cache(maxsize=8)
def mel_filters(sample_rate_hz: int, fft_size: int, bands: int, low_hz: float, high_hz: float) -> Tensor:
    """Triangular mel filters `(bands, fft_size // 2 + 1)` with unit peak (HTK's mel scale)."""

    def mel(hertz: float) -> float:
        return 2595.0 * float(np.log10(1 + hertz / 700.0))

    edges = 700 * (10 ** (torch.linspace(mel(low_hz), mel(high_hz), bands + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, sample_rate_hz / 2, fft_size // 2 + 1, dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


def log_mel(samples: Tensor, sample_rate_hz: int, fft_size: int, hop: int, bands: int) -> Tensor:
    """Natural-log mel power `(…, bands, 1 + samples // hop)` of waveforms `(…, samples)`."""
    spectrum = torch.stft(
        samples, fft_size, hop, window=torch.hann_window(fft_size), center=True, pad_mode="constant", return_complex=True
    )
    power = mel_filters(sample_rate_hz, fft_size, bands, 40.0, sample_rate_hz / 2) @ spectrum.abs().square()
    return torch.log(power + 1e-5)


@dataclass(frozen=True, config=STRICT)
class Audio:
    """`seconds` of sound as `bands` × `frames` log-mel values; `shift_seconds` is what random shifts have to spare."""

    seconds: float = 2.0
    shift_seconds: float = 0.3
    sample_rate_hz: int = 16000
    fft_size: int = 512
    hop: int = 256
    bands: int = 64
    mean: float = -5.0
    std: float = 4.0

    @property
    def frames(self) -> int:
        return int(self.seconds * self.sample_rate_hz) // self.hop

    @property
    def spec(self) -> ModalitySpec:
        return ModalitySpec("audio", (self.bands, self.frames), "mel-bands frames")

    def reach(self, start_seconds: float, stop_seconds: float) -> tuple[float, float]:
        return window(start_seconds, stop_seconds, self.seconds)

    def read(self, source: Path, start_seconds: float, stop_seconds: float) -> NDArray[np.float16] | None:
        start, stop = window(start_seconds, stop_seconds, self.seconds + 2 * self.shift_seconds)
        samples = read_audio(source, start, stop, self.sample_rate_hz)
        if samples is None:
            return None
        spectrogram = log_mel(torch.from_numpy(samples), self.sample_rate_hz, self.fft_size, self.hop, self.bands)
        return spectrogram.numpy().astype(np.float16)

    def transform(self, stored: Tensor, augmentation: Augmentation | None) -> Tensor:
        spare = stored.shape[-1] - self.frames
        if augmentation is None:
            picture = stored[..., spare // 2 : spare // 2 + self.frames].float()
            return (picture - self.mean) / self.std
        firsts = augmentation.integers((len(stored),), spare + 1).tolist()
        picture = torch.stack([clip[:, first : first + self.frames] for clip, first in zip(stored, firsts, strict=True)])
        picture = picture.float() + augmentation.uniform((len(stored), 1, 1), -1.0, 1.0)
        return mask_stripes((picture - self.mean) / self.std, augmentation)


def mask_stripes(picture: Tensor, augmentation: Augmentation) -> Tensor:
    """One stripe of bands and one of frames set to the mean (SpecAugment)."""
    for axis, widest in ((1, 10), (2, 20)):
        length = picture.shape[axis]
        first = augmentation.uniform((len(picture), 1), 0, length)
        width = augmentation.uniform((len(picture), 1), 0, widest)
        place = torch.arange(length)
        inside = (place >= first) & (place < first + width)
        picture = picture.masked_fill(inside.unsqueeze(2 if axis == 1 else 1), 0.0)
    return picture
