"""Frames of a video file by seconds, through PyAV. One decoder thread: workers are the parallelism."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.container.input import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from .containers import MediaError, borrow_container, film_streams, start_of

Pictures = NDArray[np.uint8]
Packets = list[Any]  # of PyAV
GREY16 = ("gray16le", "gray16be")
HELD_SECONDS = 0.5  # for which a segment may begin after a film's last frame
SEEKS_EARLIER = (0.0, 10.0, 1e6)  # seconds; streams without an index (MPEG-TS) are entered somewhere behind the frame that is needed
SKIPPABLE = ("h264", "hevc")  # decoders that can leave out frames which no other frame refers to


@dataclass(frozen=True)
class DecodedFrame:
    """A frame and when it is shown, in seconds from the start of the file's clock."""

    seconds: float
    frame: VideoFrame

    def rgb(self, width: int, height: int) -> Pictures:
        """Pixels `(height, width, 3)`, uint8 RGB, upright (rotation in the file's metadata is undone)."""
        turns = self.quarter_turns
        if turns % 2:
            width, height = height, width
        converted = reformatter().reformat(self.frame, width, height, format="rgb24", interpolation="AREA")
        picture: Pictures = np.asarray(converted.to_ndarray(), np.uint8)
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture

    def grey16(self) -> NDArray[np.uint16]:
        """Pixels `(height, width)`, upright, of a frame of 16-bit grey, as depth cameras make them. Raises ValueError for others."""
        if self.frame.format.name not in GREY16:
            raise ValueError(f"frames are {self.frame.format.name}, not 16-bit grey")
        return np.ascontiguousarray(np.rot90(self.frame.to_ndarray().astype(np.uint16), self.quarter_turns))

    @property
    def quarter_turns(self) -> int:
        """How often the picture is to be turned to the left to be upright."""
        return round(-self.frame.rotation / 90) % 4


LOCAL = threading.local()


def reformatter() -> VideoReformatter:
    """This thread's own: it keeps its tables from frame to frame, which costs more to make than a small picture."""
    if not hasattr(LOCAL, "reformatter"):
        LOCAL.reformatter = VideoReformatter()
    kept: VideoReformatter = LOCAL.reformatter
    return kept


def decode_from(path: Path, start_seconds: float) -> Iterator[DecodedFrame]:
    """Frames in order of time, beginning with the last one shown at or before `start_seconds`.

    Raises MediaError for a missing, unreadable or video-less file. A stream that breaks off midway just ends.
    """
    with borrow_container(path) as container:
        stream = video_stream(path, container)
        stream.codec_context.skip_frame = "DEFAULT"
        base = float(stream.time_base or 0)
        origin = start_of(container, stream)
        for earlier_seconds in SEEKS_EARLIER:
            container.seek(max(int((start_seconds - earlier_seconds + origin) / base), 0), stream=stream, backward=True)
            frames = decoded(container, stream, base, origin)
            first = next(frames, None)
            begun = (stream.start_time or 0) * base - origin
            if first is None and earlier_seconds:  # it broke off long before: nobody reads it from its beginning to find that out
                break
            if first is not None and first.seconds <= max(start_seconds, begun) + 1e-6:
                break
        yield from skip_until(start_seconds, frames if first is None else itertools.chain([first], frames))


def video_stream(path: Path, container: InputContainer) -> VideoStream:
    """The first video stream, to be decoded by one thread. Raises MediaError if there is none or nobody knows its codec."""
    films = film_streams(container)
    if not films:
        raise MediaError(f"{path}: has no video stream")
    stream = films[0]
    if stream.codec_context is None:
        raise MediaError(f"{path}: no decoder for its video stream")
    if not stream.codec_context.is_open:
        stream.thread_count = 1
    return stream


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


def read_frames(path: Path, seconds: Sequence[float], width: int, height: int, most_held_seconds: float = math.inf) -> Pictures:
    """The frames shown at the given rising `seconds`: `(len(seconds), height, width, 3)`, uint8 RGB.

    A second beyond the end shows the last frame. Raises MediaError if no frame at all can be decoded there, or if all of them lie
    more than `most_held_seconds` (and two frames) after the last, so that a film that breaks off is no still picture.
    """
    pictures = read_needed(path, seconds, width, height, most_held_seconds)
    return np.stack(read_all(path, seconds, width, height, most_held_seconds)) if pictures is None else pictures


def read_all(
    path: Path, seconds: Sequence[float], width: int, height: int, most_held_seconds: float = math.inf
) -> list[Pictures]:
    """Pictures at `seconds`, decoding every frame on the way."""
    pictures: list[Pictures] = []
    latest: DecodedFrame | None = None
    for frame in frames_shown(path, seconds, most_held_seconds):
        pictures.append(pictures[-1] if frame is latest else frame.rgb(width, height))
        latest = frame
    return pictures


def grey16_of(path: Path, frame: DecodedFrame) -> NDArray[np.uint16]:
    """The 16-bit grey of a file's frame. Raises MediaError if it is none."""
    try:
        return frame.grey16()
    except ValueError as error:
        raise MediaError(f"{path}: {error}") from error


def frames_shown(path: Path, seconds: Sequence[float], most_held_seconds: float = math.inf) -> Iterator[DecodedFrame]:
    """The frame shown at each of the rising `seconds`, the same one where it is still shown.

    Raises MediaError if there is none, or if the film ended long before the first of them.
    """
    frames = decode_from(path, seconds[0])
    current, upcoming = None, next(frames, None)
    for second in seconds:
        while upcoming is not None and (current is None or upcoming.seconds <= second + 1e-6):
            current, upcoming = upcoming, next(frames, None)
        if current is None:
            raise MediaError(f"{path}: no frame at {seconds[0]:.2f} s")
        if upcoming is None and second == seconds[0] and math.isfinite(most_held_seconds):
            require_shown(path, second, current.seconds, most_held_seconds)
        yield current


def require_shown(path: Path, second: float, last_seconds: float, most_held_seconds: float) -> None:
    """Raise MediaError if a film's last frame is no longer shown at a second."""
    with borrow_container(path) as container:
        rate = video_stream(path, container).average_rate
    if second - last_seconds > max(most_held_seconds, 2 / float(rate) if rate else 0.0):
        raise MediaError(f"{path}: no frame at {second:.2f} s, the last one is at {last_seconds:.2f} s")


def read_needed(
    path: Path, seconds: Sequence[float], width: int, height: int, most_held_seconds: float = math.inf
) -> Pictures | None:
    """Pictures at `seconds`, leaving out frames that are neither wanted nor needed to decode others.

    None where that cannot be done (other codecs, streams that are not quite in order) or the film may have ended long before: then
    every frame is decoded.
    """
    with borrow_container(path) as container:
        stream = video_stream(path, container)
        if stream.codec_context.name not in SKIPPABLE:
            return None
        base = float(stream.time_base or 0)
        origin = start_of(container, stream)
        try:
            container.seek(max(int((seconds[0] + origin) / base), 0), stream=stream, backward=True)
            packets = packets_until(container, stream, (seconds[-1] + origin) / base)
            wanted = moments_shown(packets, [(second + 1e-6 + origin) / base for second in seconds])
            if wanted is None or seconds[0] + origin - wanted[0] * base > most_held_seconds:
                return None
            return decode_wanted(stream, packets, wanted, width, height)
        except (av.error.FFmpegError, OSError):
            return None  # reading everything tells what is wrong, in the decoder's own words


def packets_until(container, stream, last: float) -> Packets:  # type: ignore[no-untyped-def]
    """Packets in the order of decoding, up to the first that can only be shown after `last` (in ticks)."""
    packets = []
    for packet in container.demux(stream):
        packets.append(packet)
        if packet.dts is None or packet.dts > last:
            break
    return packets


def moments_shown(packets: Packets, ticks: list[float]) -> list[int] | None:
    """For each of the rising `ticks`, when the frame shown then begins; None if packets do not tell that or start later."""
    shown = [packet.pts for packet in packets if packet.size]
    if not shown or any(pts is None for pts in shown) or not packets[0].is_keyframe:
        return None
    starts = np.unique(np.array(shown, np.int64))
    places = np.searchsorted(starts, ticks, side="right") - 1
    return None if places[0] < 0 else starts[places].tolist()


def decode_wanted(stream, packets: Packets, wanted: list[int], width: int, height: int) -> Pictures | None:  # type: ignore[no-untyped-def]
    """Pictures of the frames shown at the ticks `wanted`; frames of no further use are not decoded. None if one is missing."""
    places: dict[int, list[int]] = {}
    for place, tick in enumerate(wanted):
        places.setdefault(tick, []).append(place)
    pictures, left, context = np.empty((len(wanted), height, width, 3), np.uint8), set(wanted), stream.codec_context
    for packet in [*packets, None]:
        if packet is not None:
            context.skip_frame = "DEFAULT" if packet.pts in places else "NONREF"
        for frame in context.decode(packet):
            if frame.pts in left:
                pictures[places[frame.pts]] = DecodedFrame(0.0, frame).rgb(width, height)
                left.discard(frame.pts)
        if not left or (packet is not None and not packet.size):
            break
    return None if left else pictures
