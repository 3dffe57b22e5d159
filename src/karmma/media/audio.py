"""Mono sound of a media file by seconds, at any sample rate, through PyAV."""

from __future__ import annotations

from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from .containers import borrow_container

Samples = NDArray[np.float32]


def read_audio(path: Path, start_seconds: float, stop_seconds: float, sample_rate_hz: int) -> Samples | None:
    """Samples `(round((stop − start) · rate),)` in −1…1, or None when the file has no audio track.

    Seconds before the start or beyond the end of the track are zeros; None also when the whole span lies outside it.
    Raises MediaError for a missing or unreadable file.
    """
    wanted = np.zeros(round((stop_seconds - start_seconds) * sample_rate_hz), np.float32)
    heard = False
    with borrow_container(path, fresh=True) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        if not stream.codec_context.is_open:
            stream.codec_context.thread_count = 1
        base = float(stream.time_base or 0)
        origin = float((stream.start_time or 0) * base)
        resampler = av.AudioResampler("fltp", "mono", sample_rate_hz)
        try:
            container.seek(max(int((start_seconds - 0.1 + origin) / base), 0), stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.pts is None:
                    continue
                if frame.pts * base - origin > stop_seconds + 0.1:
                    break
                plain = plain_samples(frame, sample_rate_hz)
                if plain is not None:
                    heard |= place(plain, frame, wanted, start_seconds + origin, sample_rate_hz)
                    continue
                for piece in resampler.resample(frame):
                    heard |= place(piece.to_ndarray()[0], piece, wanted, start_seconds + origin, sample_rate_hz)
            for piece in resampler.resample(None):
                heard |= place(piece.to_ndarray()[0], piece, wanted, start_seconds + origin, sample_rate_hz)
        except (av.error.FFmpegError, OSError):
            if not heard:
                raise
    return wanted if heard else None


def plain_samples(frame: av.AudioFrame, sample_rate_hz: int) -> Samples | None:
    """The samples of a frame that is mono and of that rate already, as shards are; None for any other."""
    if frame.sample_rate != sample_rate_hz or frame.layout.nb_channels != 1:
        return None
    if frame.format.name in ("s16", "s16p"):
        return frame.to_ndarray()[0].astype(np.float32) / 32768
    return frame.to_ndarray()[0] if frame.format.name in ("flt", "fltp") else None


def place(samples: Samples, frame: av.AudioFrame, wanted: Samples, start_seconds: float, sample_rate_hz: int) -> bool:
    """Copy a decoded piece to where it belongs; whether any of it lay inside."""
    first = round((float((frame.pts or 0) * (frame.time_base or 0)) - start_seconds) * sample_rate_hz)
    low, high = max(first, 0), min(first + len(samples), len(wanted))
    if low >= high:
        return False
    wanted[low:high] = samples[low - first : high - first]
    return True
