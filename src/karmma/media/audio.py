"""Mono sound of a media file by seconds, at any sample rate, through PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
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
        mono, begin = MonoResampler(sample_rate_hz), start_seconds + origin
        try:
            for frame in decode_sound(container, stream, start_seconds - 0.1 + origin, stop_seconds + 0.1 + origin):
                plain = plain_samples(frame, sample_rate_hz)
                pieces = [(plain, float((frame.pts or 0) * (frame.time_base or 0)))] if plain is not None else mono.resample(frame)
                for samples, seconds in pieces:
                    low, high = place(samples, wanted, round((seconds - begin) * sample_rate_hz))
                    heard |= max(low, first) < min(high, last)
            for samples, seconds in mono.resample(None):
                low, high = place(samples, wanted, round((seconds - begin) * sample_rate_hz))
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


class MonoResampler:
    """Frames of one stream as mono samples at a rate, in pieces of `piece_samples` if that is given.

    Channels are mixed as `ffmpeg -ac 1` writes them into a .wav, with shares that add up to one: the same sound on two channels, or on
    six, is as loud as on one. A stream may change its channels, rate or format midway.
    """

    def __init__(self, sample_rate_hz: int, piece_samples: int | None = None) -> None:
        self.sample_rate_hz, self.piece_samples = sample_rate_hz, piece_samples
        self.resampler, self.kind, self.gain = self.new_resampler(), ("", "", 0), np.float32(1)

    def new_resampler(self) -> av.AudioResampler:
        return av.AudioResampler("fltp", "mono", self.sample_rate_hz, frame_size=self.piece_samples)

    def resample(self, frame: av.AudioFrame | None) -> list[tuple[Samples, float]]:
        """Samples, and the second by the stream's clock at which they begin; what is left after the last frame for None."""
        done: list[tuple[Samples, float]] = []
        if frame is not None and self.kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
            done = self.resample(None) if self.kind[0] else []
            self.resampler, self.kind, self.gain = self.new_resampler(), kind, mono_gain(frame.layout.name)
        pieces = self.resampler.resample(frame)
        return done + [(piece.to_ndarray()[0] / self.gain, float((piece.pts or 0) * (piece.time_base or 0))) for piece in pieces]


@lru_cache(maxsize=64)
def mono_gain(layout: str) -> np.float32:
    """How many times as loud FFmpeg's mono of floating point is as the same sound on every channel."""
    ones = np.ones((1, 64 * av.AudioLayout(layout).nb_channels), np.float32)
    frame = av.AudioFrame.from_ndarray(ones, format="flt", layout=layout)
    frame.sample_rate, frame.pts = 8000, 0
    (mixed,) = av.AudioResampler("fltp", "mono", 8000).resample(frame)
    return np.float32(max(float(mixed.to_ndarray()[0, 32]), 1.0))


def place(samples: Samples, wanted: Samples, first: int) -> tuple[int, int]:
    """Copy a decoded piece to where it belongs; from which sample of `wanted` to which, empty if none of it lay inside."""
    low, high = max(first, 0), min(first + len(samples), len(wanted))
    if low < high:
        wanted[low:high] = samples[low - first : high - first]
    return low, high
