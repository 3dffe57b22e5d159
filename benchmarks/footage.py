"""Long H.264 + AAC files for benchmarks: one minute of moving texture with a hand-held camera's shake, repeated."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

FRAMES_HZ, SOUND_HZ = 30, 48000


def write_footage(path: Path, width: int, height: int, minutes: int, seed: int = 0) -> Path:
    """A file as a camera app writes it: x264 veryfast, three B-frames, a key frame every 250 frames. Kept if it is there."""
    if path.is_file():
        return path
    minute = path.with_name(f"{path.stem}-minute.mp4")
    write_minute(minute, width, height, seed)
    temporary = path.with_name(f".{path.name}.tmp.mp4")
    repeat_packets(minute, temporary, minutes)
    minute.unlink()
    return temporary.rename(path)


def write_minute(path: Path, width: int, height: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    canvas = texture(random, 2 * width, 2 * height)
    patch = texture(random, width // 4, height // 3)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FRAMES_HZ)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"preset": "veryfast", "bf": "3", "g": "250", "crf": "23"}
        sound = container.add_stream("aac", rate=SOUND_HZ, layout="mono")
        walk = np.cumsum(random.normal(0, 2.0, (60 * FRAMES_HZ, 2)), 0)
        for index in range(60 * FRAMES_HZ):
            x, y = (np.abs(walk[index]) % (width, height)).astype(int)
            picture = canvas[y : y + height, x : x + width].copy()
            left = int((width * 3 // 4) * (0.5 + 0.5 * np.sin(index / 20)))
            picture[height // 3 : height // 3 + len(patch), left : left + patch.shape[1]] = patch
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        samples = (random.normal(0, 0.05, 60 * SOUND_HZ) + 0.2 * np.sin(np.arange(60 * SOUND_HZ) / 17)).astype(np.float32)
        for first in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, first : first + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, first, Fraction(1, SOUND_HZ)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def texture(random: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Blobs of several sizes."""
    layers = [cv2.resize(random.random((height // size + 1, width // size + 1, 3)), (width, height)) for size in (4, 16, 64)]
    return np.clip(sum(layers) * 85, 0, 255).astype(np.uint8)


def repeat_packets(source: Path, target: Path, times: int) -> None:
    """The same packets one minute later, again and again: long files without encoding them."""
    with av.open(str(target), "w") as out:
        streams, reached = None, dict[int, int]()
        for number in range(times):
            with av.open(str(source)) as container:
                if streams is None:
                    streams = {stream.index: out.add_stream_from_template(stream) for stream in container.streams}
                for packet in container.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    late = int(number * 60 / packet.time_base)
                    packet.dts, packet.pts = packet.dts + late, packet.pts + late
                    if packet.dts <= reached.get(packet.stream.index, packet.dts - 1):
                        continue  # the sound encoder's lead-in overlaps the minute before
                    reached[packet.stream.index] = packet.dts
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
