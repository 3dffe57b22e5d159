"""What a media file holds, without decoding it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import av.error

from .video import MediaError


@dataclass(frozen=True)
class MediaInfo:
    """Duration in seconds and which streams there are."""

    duration_seconds: float
    has_video: bool
    has_audio: bool


def probe(path: Path) -> MediaInfo:
    """Raises MediaError for a missing or unreadable file, or one with neither video nor audio."""
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    try:
        with av.open(str(path)) as container:
            streams = [*container.streams.video[:1], *container.streams.audio[:1]]
            if not streams:
                raise MediaError(f"{path}: has neither video nor audio")
            lengths = [
                float(stream.duration * stream.time_base) for stream in streams if stream.duration and stream.time_base
            ]
            if container.duration:
                lengths.append(container.duration / av.time_base)
            if not lengths:
                raise MediaError(f"{path}: its length is unknown; give start and stop seconds")
            return MediaInfo(lengths[0], bool(container.streams.video), bool(container.streams.audio))
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: {error}") from error


def probe_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as stored. Raises MediaError for a missing, unreadable or video-less file."""
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path}: has no video stream")
            context = container.streams.video[0].codec_context
            return context.width, context.height
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: {error}") from error
