"""Mono sound of a media file by seconds, at any sample rate, through PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from numpy.typing import NDArray

from .containers import MediaError, borrow_container, start_of

Samples = NDArray[np.float32]


def read_audio(
    path: Path, start_seconds: float, stop_seconds: float, sample_rate_hz: int, within: tuple[float, float] | None = None
) -> Samples | None:
    """Samples `(round((stop − start) · rate),)` in −1…1, or None when the file has no audio track.

    Seconds before the start or beyond the end of the track are zeros; None also when nothing lies between the two moments
    `within`, or in the whole span. Raises MediaError for a missing or unreadable file.
    """
    wanted = np.zeros(round((stop_seconds - start_seconds) * sample_rate_hz), np.float32)
    first, last = (round((second - start_seconds) * sample_rate_hz) for second in within or (start_seconds, stop_seconds))
    heard = False
    with borrow_container(path) as container:
        if not container.streams.audio:
            return None
        stream = audio_stream(path, container)
        origin = start_of(container, stream)
        resampler = av.AudioResampler("fltp", "mono", sample_rate_hz)
        try:
            for frame in decode_sound(container, stream, start_seconds - 0.1 + origin, stop_seconds + 0.1 + origin):
                plain = plain_samples(frame, sample_rate_hz)
                pieces = [(plain, frame)] if plain is not None else [(p.to_ndarray()[0], p) for p in resampler.resample(frame)]
                for samples, piece in pieces:
                    low, high = place(samples, piece, wanted, start_seconds + origin, sample_rate_hz)
                    heard |= max(low, first) < min(high, last)
            for piece in resampler.resample(None):
                low, high = place(piece.to_ndarray()[0], piece, wanted, start_seconds + origin, sample_rate_hz)
                heard |= max(low, first) < min(high, last)
        except (av.error.FFmpegError, OSError):
            if not heard:
                raise
    return wanted if heard else None


def audio_stream(path: Path, container: InputContainer) -> AudioStream:
    """The first sound track. Raises MediaError if nobody knows its codec."""
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise MediaError(f"{path}: no decoder for its audio stream")
    return stream


def decode_sound(
    container: InputContainer, stream: AudioStream, first_seconds: float, last_seconds: float
) -> Iterator[av.AudioFrame]:
    """Frames between two moments of the stream's clock, by a decoder of their own.

    The stream's decoder does not forget what it heard when it is sent to another place (AAC's noise goes on), so that the same
    stretch would sound a little different each time.
    """
    own, base = stream.codec_context, float(stream.time_base or 0)
    decoder = av.CodecContext.create(own.codec.name, "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.extradata, decoder.sample_rate, decoder.layout = own.extradata, own.sample_rate, own.layout
    decoder.thread_count = 1
    container.seek(max(int(first_seconds / base), 0), stream=stream, backward=True)
    for packet in container.demux(stream):
        for frame in decoder.decode(packet if packet.size else None):
            if frame.pts is None:
                continue
            if frame.pts * base > last_seconds:
                return
            frame.time_base = stream.time_base
            yield frame


def plain_samples(frame: av.AudioFrame, sample_rate_hz: int) -> Samples | None:
    """The samples of a frame that is mono and of that rate already, as shards are; None for any other."""
    if frame.sample_rate != sample_rate_hz or frame.layout.nb_channels != 1:
        return None
    if frame.format.name in ("s16", "s16p"):
        return frame.to_ndarray()[0].astype(np.float32) / 32768
    return frame.to_ndarray()[0] if frame.format.name in ("flt", "fltp") else None


def place(samples: Samples, frame: av.AudioFrame, wanted: Samples, start_seconds: float, sample_rate_hz: int) -> tuple[int, int]:
    """Copy a decoded piece to where it belongs; from which sample of `wanted` to which, empty if none of it lay inside."""
    first = round((float((frame.pts or 0) * (frame.time_base or 0)) - start_seconds) * sample_rate_hz)
    low, high = max(first, 0), min(first + len(samples), len(wanted))
    if low < high:
        wanted[low:high] = samples[low - first : high - first]
    return low, high
