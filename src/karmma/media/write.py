"""Writing MP4: H.264 video and AAC sound through PyAV, atomically."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray


class VideoWriter:
    """Encodes RGB frames and mono sound into `path`; the file appears under its name only when it is complete.

    `sample_rate_hz` None writes no audio track. Use as a context manager.
    """

    def __init__(
        self, path: Path, width: int, height: int, frames_hz: float, sample_rate_hz: int | None = None, *, crf: int = 21
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.frames_written = path, 0
        self.temporary = path.with_name(f".{path.name}.tmp")
        self.container = av.open(str(self.temporary), "w", format="mp4")
        rate = Fraction(frames_hz).limit_denominator(1001)
        self.video = self.container.add_stream("libx264", rate=rate)
        self.video.width, self.video.height, self.video.pix_fmt = width, height, "yuv420p"
        self.video.options = {"crf": str(crf), "preset": "ultrafast", "g": str(max(int(frames_hz), 1)), "threads": "1"}
        self.video.codec_context.thread_count = 1
        self.sample_rate_hz = sample_rate_hz
        self.audio = None
        if sample_rate_hz is not None:
            self.audio = self.container.add_stream("aac", rate=sample_rate_hz, layout="mono")
            self.audio.bit_rate = 64000

    def write_frame(self, rgb: NDArray[np.uint8]) -> None:
        """Append one picture `(H, W, 3)`, uint8 RGB."""
        self.frames_written += 1
        for packet in self.video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")):
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
