"""Frames of a video file by seconds, through PyAV. One decoder thread: workers are the parallelism."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ..types import KarmmaError

Pictures = NDArray[np.uint8]


class MediaError(KarmmaError):
    """A file that cannot be read; the message holds the path and the decoder's own words."""


@dataclass(frozen=True)
class DecodedFrame:
    """A frame and when it is shown, in seconds from the start of the file's clock."""

    seconds: float
    frame: VideoFrame

    def rgb(self, width: int, height: int) -> Pictures:
        """Pixels `(height, width, 3)`, uint8 RGB, upright (rotation in the file's metadata is undone)."""
        turns = round(-self.frame.rotation / 90) % 4
        if turns % 2:
            width, height = height, width
        picture: Pictures = np.asarray(
            self.frame.reformat(width, height, format="rgb24", interpolation="AREA").to_ndarray(), np.uint8
        )
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def decode_from(path: Path, start_seconds: float) -> Iterator[DecodedFrame]:
    """Frames in order of time, beginning with the last one shown at or before `start_seconds`.

    Raises MediaError for a missing, unreadable or video-less file. A stream that breaks off midway just ends.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path}: has no video stream")
            stream = container.streams.video[0]
            stream.thread_count = 1
            base = float(stream.time_base or 0)
            origin = float((stream.start_time or 0) * base)
            container.seek(max(int((start_seconds + origin) / base), 0), stream=stream, backward=True)
            yield from skip_until(start_seconds, decoded(container, stream, base, origin))
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: {error}") from error


def decoded(container, stream, base: float, origin: float) -> Iterator[DecodedFrame]:  # type: ignore[no-untyped-def]
    delivered = False
    try:
        for frame in container.decode(stream):
            if frame.pts is not None:
                delivered = True
                yield DecodedFrame(frame.pts * base - origin, frame)
    except av.error.FFmpegError:
        if not delivered:
            raise


def skip_until(start_seconds: float, frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
    held = None
    for frame in frames:
        if frame.seconds > start_seconds + 1e-6:
            if held is not None:
                yield held
            yield frame
            yield from frames
            return
        held = frame
    if held is not None:
        yield held


def read_frames(path: Path, seconds: Sequence[float], width: int, height: int) -> Pictures:
    """The frames shown at the given rising `seconds`: `(len(seconds), height, width, 3)`, uint8 RGB.

    A second beyond the end shows the last frame. Raises MediaError if no frame at all can be decoded there.
    """
    pictures: list[Pictures] = []
    current: DecodedFrame | None = None
    picture: Pictures | None = None
    frames = decode_from(path, seconds[0])
    upcoming = next(frames, None)
    for second in seconds:
        while upcoming is not None and (current is None or upcoming.seconds <= second + 1e-6):
            current, upcoming, picture = upcoming, next(frames, None), None
        if current is None:
            raise MediaError(f"{path}: no frame at {seconds[0]:.2f} s")
        if picture is None:
            picture = current.rgb(width, height)
        pictures.append(picture)
    return np.stack(pictures)
