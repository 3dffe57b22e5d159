"""What the installed decoder library can do. Names in a list say little (FFmpeg's own `av1` decodes nothing without a GPU), so
a moment of each codec is encoded and decoded."""

from __future__ import annotations

import base64
import io
from typing import Any, Literal

import av
import numpy as np
from av.codec import Codec
from av.error import FFmpegError

VIDEO = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mjpeg", "prores")
AUDIO = ("aac", "opus", "mp3", "vorbis", "flac", "ac3", "pcm_s16le")
WRITTEN = ("h264", "aac", "flac")  # by the simulator and `karmma prepare`
LIVE = ("v4l2", "alsa", "pulse", "rtsp")
OPTIONS = {"hevc": {"x265-params": "log-level=none"}, "vorbis": {"strict": "experimental"}}
FORMATS = {"mjpeg": "yuvj420p", "prores": "yuv422p10le"}
# A grey picture, since the encoder writes to the terminal and cannot be stopped.
AV1 = "REtJRgAAIABBVjAxQABAABkAAAABAAAAAQAAAAAAAAAfAAAAAAAAAAAAAAASAAoKAAAAAq//jV8wCDIPEAC6AgggQQEAAAgAlfaA"
RATE_HZ, SIZE, PICTURES, SAMPLES = 48000, 64, 3, 9600


def media_support() -> dict[str, Any]:
    """`version` of PyAV, versions of FFmpeg's `libraries`, what can be `written`, `read` (see `trial`) and read `live`."""
    trials = {codec: trial(codec) for codec in (*VIDEO, *AUDIO)}
    return {
        "version": av.__version__,
        "libraries": {name: ".".join(map(str, number)) for name, number in av.library_versions.items()},
        "written": {codec: trials[codec][0] for codec in WRITTEN},
        "read": {codec: reads for codec, (_, reads) in trials.items()},
        "live": {name: is_input(name) for name in LIVE},
    }


def trial(codec: str) -> tuple[str, str]:
    """What came of encoding a moment of this codec, and of decoding it: `ok`, `missing` or the library's own words.

    Decoding is `untried` where there is a decoder, but nothing to give it.
    """
    try:
        encoded = base64.b64decode(AV1) if codec == "av1" else encode_moment(codec)
    except (FFmpegError, ValueError) as error:
        return words_of(error) if has_codec(codec, "w") else "missing", "untried" if has_codec(codec, "r") else "missing"
    try:
        return "ok", "ok" if decoded_frames(encoded) else "nothing came out"
    except (FFmpegError, ValueError) as error:
        return "ok", words_of(error) if has_codec(codec, "r") else "missing"


def words_of(error: Exception) -> str:
    """An error's own words on one line; its name where it has none."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def has_codec(codec: str, mode: Literal["r", "w"]) -> bool:
    try:
        return bool(Codec(codec, mode).name)
    except ValueError:  # av.codec.codec.UnknownCodecError
        return False


def encode_moment(codec: str) -> bytes:
    """A Matroska file in memory: three small pictures, or a fifth of a second of noise. Raises what the library raises."""
    file, noise = io.BytesIO(), np.random.default_rng(0)
    with av.open(file, "w", format="matroska") as container:
        stream: Any
        frames: list[Any]
        if codec in VIDEO:
            stream = container.add_stream(codec, rate=25, options=OPTIONS.get(codec))
            stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, FORMATS.get(codec, "yuv420p")
            pictures = noise.integers(0, 255, (PICTURES, SIZE, SIZE, 3), np.uint8)
            frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures]
        else:
            stream = container.add_stream(codec, rate=RATE_HZ, layout="stereo", options=OPTIONS.get(codec))
            samples = noise.integers(-9999, 9999, (1, 2 * SAMPLES), np.int16)
            frames = [av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")]
            frames[0].sample_rate, frames[0].pts = RATE_HZ, 0
        for frame in [*frames, None]:
            container.mux(stream.encode(frame))
    return file.getvalue()


def decoded_frames(encoded: bytes) -> int:
    with av.open(io.BytesIO(encoded), "r") as container:
        return sum(1 for _ in container.decode(container.streams[0]))


def is_input(name: str) -> bool:
    """Whether FFmpeg was built with this device or protocol."""
    try:
        return bool(av.ContainerFormat(name, "r").name)
    except ValueError:
        return False
