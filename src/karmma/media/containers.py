"""Open media files, kept open for the next read: opening a long recording costs as much as decoding twenty frames."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
from av.container.input import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ..types import KarmmaError

KEPT_OPEN = 4  # per thread
FileKey = tuple[str, int, int, int]


class MediaError(KarmmaError):
    """A file that cannot be read; the message holds the path and the decoder's own words."""


class KeptContainers(threading.local):
    """This thread's idle containers, the latest last."""

    def __init__(self) -> None:
        self.idle: OrderedDict[FileKey, InputContainer] = OrderedDict()


KEPT = KeptContainers()


@contextmanager
def borrow_container(path: Path) -> Iterator[InputContainer]:
    """A container of the file, as left by whoever read it last: seek first. Nobody else has it meanwhile.

    Raises MediaError for a missing or unreadable file, and for what the decoder raises in the body.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    key = file_key(path)
    try:
        container = KEPT.idle.pop(key, None) or open_container(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: {error}") from error
    try:
        yield container
    except (av.error.FFmpegError, OSError) as error:
        container.close()
        raise MediaError(f"{path}: {error}") from error
    except GeneratorExit:
        put_back(key, container)
        raise
    except BaseException:
        container.close()
        raise
    put_back(key, container)


def open_container(address: str, **options: Any) -> InputContainer:
    """A file or live source to read, whatever encoding its titles and comments have. Raises what the decoder library raises."""
    return av.open(address, "r", metadata_errors="replace", **options)


def film_streams(container: InputContainer) -> list[VideoStream]:
    """Streams of moving pictures; the cover of a sound file is none."""
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def start_of(container: InputContainer, stream: Any) -> float:
    """The file's second 0 by a stream's clock: when the first of its streams begins, as players count, so that sound that begins later
    than the pictures, or before them, stays where it belongs."""
    if container.start_time is not None:
        return container.start_time / av.time_base
    return float((stream.start_time or 0) * (stream.time_base or 0))


def file_key(path: Path) -> FileKey:
    """What changes when the file does."""
    status = path.stat()
    return str(path), status.st_mtime_ns, status.st_size, status.st_ino


def put_back(key: FileKey, container: InputContainer) -> None:
    if key in KEPT.idle:  # one idle container of a file is enough
        container.close()
        return
    KEPT.idle[key] = container
    while len(KEPT.idle) > KEPT_OPEN:
        KEPT.idle.popitem(last=False)[1].close()


def forget_containers(directory: Path) -> None:
    """Close what this thread keeps open below a directory that is about to go away: else its space stays taken."""
    for key in [key for key in KEPT.idle if Path(key[0]).is_relative_to(directory)]:
        KEPT.idle.pop(key).close()
