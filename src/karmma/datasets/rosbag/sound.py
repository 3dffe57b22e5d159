"""Sound of a bag: of which format its messages are, and its samples from second 0 on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...media.sound_messages import Mp3Samples, PlainSamples, is_mp3
from ...types import KarmmaError
from .topics import AUDIO_INFO, SOUNDS, Bag, Topic

GAP_SECONDS = 0.1  # of sound, from which on it is filled with silence
FIRST_MESSAGES = 20  # which tell MP3 from samples
SAMPLES = {"U8": "u1", "S16LE": "<i2", "S32LE": "<i4", "F32LE": "<f4"}  # AudioInfo's words


@dataclass(frozen=True)
class Sound:
    """Mono samples in -1 to 1 from second 0 on."""

    samples: NDArray[np.float32]
    rate_hz: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate_hz


def read_sound(bag: Bag, topic: Topic, messages: Iterator[tuple[float, Any]], audio_hz: int | None) -> Sound | None:
    """A topic's sound, of whose messages each is heard by the second at which it came; gaps are silence. None where there is none.

    `messages` with the seconds, from second 0 on, at which they came. The rate is `audio_hz`, or what the bag's AudioInfo or an MP3
    says. Raises KarmmaError where none of them does, and for a format that is not read.
    """
    reader = find_format(bag, topic, audio_hz)
    pieces, length = list[NDArray[np.float32]](), 0
    for came, message in messages:
        samples = reader.samples(bytes_of(message))
        if not len(samples):
            continue
        begin = round(came * reader.rate_hz) - len(samples)
        if not pieces and begin < 0:  # heard before the film began
            samples, begin = samples[-begin:], 0
        gap = begin - length
        if gap > (GAP_SECONDS * reader.rate_hz if pieces else 0):
            pieces.append(np.zeros(gap, np.float32))
            length += gap
        if len(samples):
            pieces.append(samples)
            length += len(samples)
    return Sound(np.concatenate(pieces), reader.rate_hz) if pieces else None


def find_format(bag: Bag, topic: Topic, audio_hz: int | None) -> PlainSamples | Mp3Samples:
    """What reads a topic's sound; of messages of bytes, whose content no type tells, an AudioInfo or their first ones tell it."""
    of_bytes = bag.kinds[topic.name].startswith("audio_common_msgs/")
    info = find_info(bag, topic.name) if of_bytes else None
    some = islice(bag.messages(topic.name), FIRST_MESSAGES if of_bytes else 0)
    if is_mp3(b"".join(bytes_of(message) for _, message in some)) or (info is not None and info.coding_format.lower() == "mp3"):
        return Mp3Samples()
    if info is None:
        numbers, channels, rate_hz = SOUNDS[bag.kinds[topic.name]], 1, audio_hz
    elif info.sample_format.upper() in SAMPLES:
        numbers, channels, rate_hz = SAMPLES[info.sample_format.upper()], max(info.channels, 1), audio_hz or info.sample_rate
    else:
        raise KarmmaError(f"{bag.path}: {topic.name}: sound of format {info.sample_format!r}; read are {', '.join(SAMPLES)} and MP3")
    if not rate_hz:
        raise KarmmaError(f"{bag.path}: {topic.name}: sound needs its rate: --audio-hz")
    return PlainSamples(numbers, channels, rate_hz)


def find_info(bag: Bag, topic: str) -> Any:
    """The AudioInfo beside a topic, or the only one of the bag; None without one."""
    listed = [name for name, kind in bag.kinds.items() if kind == AUDIO_INFO and bag.counts[name]]
    beside = [name for name in listed if name.rpartition("/")[0] == topic.rpartition("/")[0]]
    chosen = beside if len(beside) == 1 else listed
    return next(message for _, message in bag.messages(chosen[0])) if len(chosen) == 1 else None


def bytes_of(message: Any) -> bytes:
    """The sound of one message as it was sent."""
    content = message.audio.data if hasattr(message, "audio") else message.data
    return np.ascontiguousarray(content).tobytes()
