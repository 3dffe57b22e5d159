"""Pictures of video that comes packet by packet, without a file: each packet is what a codec made of one picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

Packet = tuple[str, bytes]  # codec and content


class PacketDecoder:
    """Packets in their order become pictures; `undecoded` counts those of which none came, as before the first key frame."""

    def __init__(self) -> None:
        self.undecoded = 0
        self.decoder: VideoCodecContext | None = None
        self.waiting: dict[int, float] = {}  # seconds by the number of a packet whose picture has not come yet

    def pictures(self, packets: Iterator[tuple[float, Packet]]) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """RGB `(height, width, 3)` with the seconds of their packets."""
        for number, (seconds, (codec, content)) in enumerate(packets):
            if self.decoder is None or self.decoder.codec.name != codec:
                yield from self.decoded(None)
                decoder = av.CodecContext.create(codec, "r")
                assert isinstance(decoder, VideoCodecContext)
                decoder.thread_count, self.decoder = 1, decoder
            packet = av.Packet(content)
            packet.pts = packet.dts = number
            self.waiting[number] = seconds
            yield from self.decoded(packet)
        yield from self.decoded(None)
        self.undecoded += len(self.waiting)

    def decoded(self, packet: Any) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """What comes after one more packet, or, without one, what is left."""
        if self.decoder is None:
            return
        try:
            frames = self.decoder.decode(packet)
        except av.FFmpegError:
            return
        for frame in frames:
            seconds = self.waiting.pop(frame.pts, None) if frame.pts is not None else None
            if seconds is not None and not frame.is_corrupt:
                yield seconds, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
