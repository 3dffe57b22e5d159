"""Sound of a bag: of which format its messages are, and its samples from second 0 on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ...media.containers import MediaError
from ...types import KarmmaError
from .topics import AUDIO_INFO, SOUNDS, Bag, Topic

GAP_SECONDS = 0.1  # of sound, from which on it is filled with silence
FIRST_MESSAGES = 20  # which tell MP3 from samples
SAMPLES = {"U8": "u1", "S16LE": "<i2", "S32LE": "<i4", "F32LE": "<f4"}  # AudioInfo's words
ZERO_AND_FULL = {"u1": (128.0, 128.0), "<i2": (0.0, 32768.0), "<i4": (0.0, 2147483648.0), "<f4": (0.0, 1.0)}
MP3_KBPS = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
)
MP3_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by the header's version


@dataclass(frozen=True)
class Sound:
    """Mono samples in -1 to 1 from second 0 on."""

    samples: NDArray[np.float32]
    rate_hz: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate_hz


@dataclass
class PlainSamples:
    """Samples as numbers of one type, channel after channel; a message may end within one."""

    numbers: str
    channels: int
    rate_hz: int
    rest: bytes = b""

    def samples(self, raw: bytes) -> NDArray[np.float32]:
        """What one more message says, mono."""
        raw = self.rest + raw
        whole = len(raw) - len(raw) % (np.dtype(self.numbers).itemsize * self.channels)
        self.rest = raw[whole:]
        zero, full = ZERO_AND_FULL[self.numbers]
        values = np.frombuffer(raw[:whole], self.numbers).reshape(-1, self.channels)
        return ((values.astype(np.float32) - np.float32(zero)) / np.float32(full)).mean(1, dtype=np.float32)


@dataclass
class Mp3Samples:
    """MP3 (audio_capture's usual format), which says its rate itself; messages may end within frames."""

    rate_hz: int = 0
    decoder: Any = field(default_factory=lambda: av.CodecContext.create("mp3", "r"))

    def samples(self, raw: bytes) -> NDArray[np.float32]:
        """What can be decoded after one more message, mono. What cannot be is left out, as players do."""
        pieces = [np.zeros(0, np.float32)]
        for packet in self.decoder.parse(raw):
            try:
                frames = self.decoder.decode(packet)
            except av.FFmpegError:
                continue
            for frame in frames:
                self.rate_hz = frame.sample_rate
                pieces.append(frame.to_ndarray().reshape(-1, frame.samples).mean(0, dtype=np.float32))
        return np.concatenate(pieces)


def read_sound(bag: Bag, topic: Topic, messages: Iterator[tuple[float, Any]], audio_hz: int | None) -> Sound:
    """A topic's sound, of whose messages each is heard by the second at which it came; gaps are silence.

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
    if not pieces:
        raise MediaError(f"{bag.path}: {topic.name}: no sound that can be read from second 0 on")
    return Sound(np.concatenate(pieces), reader.rate_hz)


def find_format(bag: Bag, topic: Topic, audio_hz: int | None) -> PlainSamples | Mp3Samples:
    """What reads a topic's sound."""
    info = find_info(bag, topic.name)
    first = b"".join(bytes_of(message) for _, message in islice(bag.messages(topic.name), FIRST_MESSAGES))
    if is_mp3(first) or (info is not None and info.coding_format.lower() == "mp3"):
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


def is_mp3(data: bytes) -> bool:
    """Whether two MPEG frames of layer III follow each other, the first one at the begin or behind an ID3 tag or a frame's rest."""
    for place in range(min(len(data), 4096)):
        step = mp3_frame_length(data[place : place + 4])
        behind = data[place + step : place + step + 4]
        if step and behind[1:2] == data[place + 1 : place + 2] and mp3_frame_length(behind):
            return True
    return False


def mp3_frame_length(header: bytes) -> int:
    """Bytes of the layer III frame that four bytes begin; 0 where they begin none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, kbps, hz = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or kbps in (0, 15) or hz == 3:
        return 0
    per_frame, rates = (144, MP3_KBPS[0]) if version == 3 else (72, MP3_KBPS[1])
    return per_frame * rates[kbps - 1] * 1000 // MP3_HZ[version][hz] + (header[2] >> 1 & 1)
