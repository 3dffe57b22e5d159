"""Sound as a log-mel spectrogram of a fixed window around the middle of a segment."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from ..augmentation import Augmentation
from ..config import STRICT, Amount, Count, Positive
from ..media.audio import read_audio
from ..media.live import SampleBuffer
from ..types import ModalitySpec
from .base import window

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from ..later import torch


@lru_cache(maxsize=8)
def mel_filters(sample_rate_hz: int, fft_size: int, bands: int, low_hz: float, high_hz: float) -> NDArray[np.float32]:
    """Triangular mel filters `(bands, fft_size // 2 + 1)` with unit peak (HTK's mel scale)."""

    def mel(hertz: float) -> float:
        return 2595.0 * float(np.log10(1 + hertz / 700.0))

    edges = 700 * (10 ** (np.linspace(mel(low_hz), mel(high_hz), bands + 2) / 2595) - 1)
    return triangles(edges, np.linspace(0, sample_rate_hz / 2, fft_size // 2 + 1)).astype(np.float32)


def triangles(edges: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heights at `places` of triangles `(len(edges) − 2, len(places))` that begin, peak at 1 and end at three edges in turn."""
    rising = (places - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - places) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(np.minimum(rising, falling), 0)


@lru_cache(maxsize=8)
def hann_window(size: int) -> NDArray[np.float32]:
    """The periodic Hann window `(size,)`."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)


def pieces_of(samples: NDArray[np.float32], size: int, hop: int) -> NDArray[np.float32]:
    """Overlapping pieces `(1 + samples // hop, size)`, each around its moment, with zeros around the whole."""
    padded = np.pad(np.asarray(samples, np.float32), size // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]


def log_mel(samples: NDArray[np.float32], sample_rate_hz: int, fft_size: int, hop: int, bands: int) -> NDArray[np.float32]:
    """Natural-log mel power `(bands, 1 + samples // hop)` of a waveform `(samples,)`; columns are centred on their moments."""
    spectrum = scipy.fft.rfft(pieces_of(samples, fft_size, hop) * hann_window(fft_size), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return np.log(mel_filters(sample_rate_hz, fft_size, bands, 40.0, sample_rate_hz / 2) @ power.T + 1e-5)


KALDI_LOW_HZ, KALDI_PREEMPHASIS, KALDI_FLOOR = 20.0, 0.97, 1.1920929e-7


@lru_cache(maxsize=8)
def kaldi_filters(sample_rate_hz: int, fft_size: int, bands: int) -> NDArray[np.float64]:
    """Kaldi's mel filters `(bands, fft_size // 2 + 1)`: triangles on its mel scale, not over Hertz."""

    def mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return 1127.0 * np.log(1.0 + np.asarray(hertz) / 700.0)

    edges = np.linspace(mel(KALDI_LOW_HZ), mel(sample_rate_hz / 2), bands + 2)
    return triangles(edges, mel(np.linspace(0, sample_rate_hz / 2, fft_size // 2 + 1)))


def kaldi_fbank(pieces: NDArray[np.floating], sample_rate_hz: int, bands: int) -> NDArray[np.float32]:
    """Kaldi's log mel energies `(bands, frames)` of pieces of sound `(frames, window)`, without dither.

    Each piece loses its mean and its lower frequencies (pre-emphasis), and is seen through a Hann window. What the Audio
    Spectrogram Transformer (Gong et al., Interspeech 2021) was trained on.
    """
    pieces = pieces.astype(np.float64) - pieces.mean(1, keepdims=True, dtype=np.float64)
    before = np.concatenate([pieces[:, :1], pieces[:, :-1]], 1)
    size = pieces.shape[1]
    fft_size = 1 << (size - 1).bit_length()
    spectrum = scipy.fft.rfft((pieces - KALDI_PREEMPHASIS * before) * np.hanning(size), fft_size, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return np.log(np.maximum(kaldi_filters(sample_rate_hz, fft_size, bands) @ power.T, KALDI_FLOOR)).astype(np.float32)


@dataclass(frozen=True, config=STRICT)
class Audio:
    """`seconds` of sound as `bands` × `frames` log-mel values; `shift_seconds` is what random shifts have to spare.

    `spectrum` "kaldi" is Kaldi's fbank with windows of `fft_size` samples, for networks that were trained on it.
    """

    seconds: Positive = 2.0
    shift_seconds: Amount = 0.3
    sample_rate_hz: Count = 16000
    fft_size: Count = 512
    hop: Count = 256
    bands: Count = 64
    spectrum: Literal["log_mel", "kaldi"] = "log_mel"
    mean: float = -5.0
    std: Positive = 4.0

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
        samples = read_audio(source, start, stop, self.sample_rate_hz, within=(start_seconds, stop_seconds))
        return None if samples is None else self.spectrogram(samples)

    def read_live(self, source: SampleBuffer, start_seconds: float, stop_seconds: float) -> NDArray[np.float16] | None:
        samples = source.samples(*window(start_seconds, stop_seconds, self.seconds + 2 * self.shift_seconds))
        return None if samples is None else self.spectrogram(samples)

    def spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float16]:
        """The stored form of a stretch of sound."""
        if self.spectrum == "log_mel":
            return log_mel(samples, self.sample_rate_hz, self.fft_size, self.hop, self.bands).astype(np.float16)
        return kaldi_fbank(pieces_of(samples, self.fft_size, self.hop), self.sample_rate_hz, self.bands).astype(np.float16)

    def stored_zeros(self) -> NDArray[np.float16]:
        samples = round((self.seconds + 2 * self.shift_seconds) * self.sample_rate_hz)
        return np.zeros((self.bands, 1 + samples // self.hop), np.float16)

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
