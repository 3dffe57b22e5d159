"""Writing films: H.264 video and AAC sound, depth as 16-bit grey; sound alone."""

from __future__ import annotations

import io
import math
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

TICKS_HZ = 1000  # of clocks of frames that come when they come


class VideoWriter:
    """Encodes RGB frames and mono sound into `path`; the file appears under its name only when it is complete.

    `sample_rate_hz` None writes no audio track; `timed` frames come with their seconds, others at `frames_hz`. Use as a context
    manager.
    """

    def __init__(
        self, path: Path, width: int, height: int, frames_hz: float, sample_rate_hz: int | None = None, *, crf: int = 21,
        timed: bool = False,
    ) -> None:  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.frames_written = path, 0
        self.temporary = path.with_name(f".{path.name}.tmp")
        self.container = av.open(str(self.temporary), "w", format="mp4")
        rate = Fraction(frames_hz).limit_denominator(1001)
        self.video = self.container.add_stream("libx264", rate=rate)
        self.video.width, self.video.height, self.video.pix_fmt = width, height, "yuv420p"
        self.video.options = {"crf": str(crf), "preset": "ultrafast", "g": str(max(int(frames_hz), 1)), "threads": "1"}
        self.video.codec_context.thread_count = 1
        if timed:
            self.video.codec_context.time_base = Fraction(1, TICKS_HZ)
        self.sample_rate_hz = sample_rate_hz
        self.audio = None
        if sample_rate_hz is not None:
            self.audio = self.container.add_stream("aac", rate=sample_rate_hz, layout="mono")
            self.audio.bit_rate = 64000

    def write_frame(self, rgb: NDArray[np.uint8], seconds: float | None = None) -> None:
        """Append one picture `(H, W, 3)`, uint8 RGB; a timed one is shown from `seconds` on, later than those before."""
        self.frames_written += 1
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        if seconds is not None:
            frame.pts, frame.time_base = round(seconds * TICKS_HZ), Fraction(1, TICKS_HZ)
        for packet in self.video.encode(frame):
            self.container.mux(packet)

    def write_audio(self, samples: NDArray[np.floating]) -> None:
        """Write the whole sound, mono samples in −1…1."""
        if self.audio is None or self.sample_rate_hz is None:
            raise ValueError("the writer was opened without an audio track")
        step = self.audio.codec_context.frame_size or 1024
        for first in range(0, len(samples), step):
            block = np.ascontiguousarray(samples[first : first + step], dtype=np.float32)[None]
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = self.sample_rate_hz, first
            frame.time_base = Fraction(1, self.sample_rate_hz)
            for packet in self.audio.encode(frame):
                self.container.mux(packet)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.container.close()
            self.temporary.unlink(missing_ok=True)
            return
        for stream in (self.video, self.audio):
            if stream is not None:
                for packet in stream.encode(None):
                    self.container.mux(packet)
        self.container.close()
        self.temporary.replace(self.path)


class DepthWriter:
    """Pictures of millimetres as a film of 16-bit grey, without loss (FFV1 in Matroska), into a file or a buffer.

    Equal pictures at equal seconds make equal bytes. Use as a context manager.
    """

    def __init__(self, target: Path | BinaryIO) -> None:
        where = str(target) if isinstance(target, Path) else target
        self.container = av.open(where, "w", format="matroska", options={"fflags": "+bitexact"})
        self.stream: VideoStream | None = None

    def write(self, picture: NDArray[np.uint16], seconds: float) -> None:
        """Append one picture `(H, W)`, shown from `seconds` on. Raises ValueError for one of another size than the first."""
        if self.stream is not None and (self.stream.height, self.stream.width) != picture.shape:
            raise ValueError(f"a picture of {picture.shape} after some of {(self.stream.height, self.stream.width)}")
        if self.stream is None:
            self.stream = self.container.add_stream("ffv1", rate=TICKS_HZ, options={"flags": "+bitexact"})
            self.stream.height, self.stream.width, self.stream.pix_fmt = *picture.shape, "gray16le"
        ticked = av.VideoFrame.from_ndarray(picture, format="gray16le")
        ticked.pts, ticked.time_base = math.floor(max(seconds, 0.0) * TICKS_HZ), Fraction(1, TICKS_HZ)
        self.container.mux(self.stream.encode(ticked))

    def __enter__(self) -> DepthWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self.stream is not None:
            self.container.mux(self.stream.encode(None))
        self.container.close()


def flac_bytes(samples: NDArray[np.float32], rate_hz: int) -> bytes:
    """Lossless 16-bit mono."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate_hz, layout="mono")
        whole = np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16)
        for offset in range(0, len(whole), 4096):
            frame = av.AudioFrame.from_ndarray(whole[None, offset : offset + 4096], format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate_hz, offset
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
