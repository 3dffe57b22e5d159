"""What a media file holds, without decoding it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from .containers import MediaError, borrow_container, film_streams, start_of
from .video import video_stream


@dataclass(frozen=True)
class MediaInfo:
    """Duration in seconds and which streams there are."""

    duration_seconds: float
    has_video: bool
    has_audio: bool


def probe(path: Path) -> MediaInfo:
    """Raises MediaError for a missing or unreadable file, or one with neither video nor audio."""
    with borrow_container(path) as container:
        films = film_streams(container)
        streams = [*films[:1], *container.streams.audio[:1]]
        if not streams:
            raise MediaError(f"{path}: has neither video nor audio")
        lengths = [
            float(((stream.start_time or 0) + stream.duration) * stream.time_base) - start_of(container, stream)
            for stream in streams
            if stream.duration and stream.time_base
        ]
        if container.duration:
            lengths.append(container.duration / av.time_base)
        if not lengths:
            raise MediaError(f"{path}: its length is unknown; give start and stop seconds")
        return MediaInfo(lengths[0], bool(films), bool(container.streams.audio))


def probe_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as stored. Raises MediaError for a missing, unreadable or video-less file."""
    with borrow_container(path) as container:
        context = video_stream(path, container).codec_context
        return context.width, context.height
