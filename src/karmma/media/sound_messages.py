"""Sound that comes message by message, without a file: samples as numbers, or MP3."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

ZERO_AND_FULL = {"u1": (128.0, 128.0), "<i2": (0.0, 32768.0), "<i4": (0.0, 2147483648.0), "<f4": (0.0, 1.0)}
MP3_KBPS = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
)
MP3_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by the header's version


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
