"""What ROS messages of cameras, IMUs and microphones hold, by their fields: live ones, and those that a bag has kept alike."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import KarmmaError

ENCODINGS = {  # bytes per pixel, and how OpenCV makes RGB of them
    "rgb8": (3, None), "bgr8": (3, cv2.COLOR_BGR2RGB), "rgba8": (4, cv2.COLOR_RGBA2RGB), "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB), "8UC3": (3, cv2.COLOR_BGR2RGB), "8UC1": (1, cv2.COLOR_GRAY2RGB),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY), "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2), "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
    "bayer_rggb8": (1, cv2.COLOR_BayerRGGB2RGB), "bayer_bggr8": (1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGBRG2RGB), "bayer_grbg8": (1, cv2.COLOR_BayerGRBG2RGB),
}  # fmt: skip
CODECS = {  # of video, and parts of the names that messages and their encoders give them
    "h264": ("264", "avc"), "hevc": ("265", "hevc"), "vp9": ("vp9",), "vp8": ("vp8",), "av1": ("av1",), "mjpeg": ("mjpeg",),
}  # fmt: skip
DEPTH_ENCODINGS = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}  # types of numbers: millimetres, or metres
DEPTH_FORMAT, DEPTH_HEADER_BYTES = "compressedDepth", 12  # of compressed depth images: what is in their format, and before the PNG


def stamp_seconds(header: Any) -> float:
    """When a message was measured by its sensor's clock; 0 where nobody wrote it down."""
    return seconds_of(header.stamp)


def seconds_of(stamp: Any) -> float:
    """ROS's time in seconds."""
    return float(stamp.sec) + float(stamp.nanosec) / 1e9


def picture_of(message: Any) -> NDArray[np.uint8]:
    """Of a raw image, RGB `(height, width, 3)`. Raises KarmmaError for an encoding that is no camera's."""
    if message.encoding not in ENCODINGS:
        raise KarmmaError(f"images of encoding {message.encoding!r} are left out; known: {', '.join(ENCODINGS)}")
    channels, conversion = ENCODINGS[message.encoding]
    pixels = rows_of(message, channels).reshape(message.height, message.width, channels)
    return np.asarray(pixels if conversion is None else cv2.cvtColor(pixels, conversion), np.uint8)


def unpacked_picture_of(message: Any) -> NDArray[np.uint8]:
    """Of a compressed image. Raises KarmmaError for one that OpenCV cannot read."""
    pixels = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR_RGB) if len(message.data) else None
    if pixels is None:
        raise KarmmaError(f"compressed images of format {message.format!r} are left out: OpenCV cannot read them")
    return np.asarray(pixels, np.uint8)


def depth_of(message: Any) -> NDArray[Any]:
    """Of a depth image, `(height, width)` whole millimetres or metres in floats. Raises KarmmaError for another encoding."""
    if message.encoding not in DEPTH_ENCODINGS:
        raise KarmmaError(f"depth images of encoding {message.encoding!r} are left out; known: {', '.join(DEPTH_ENCODINGS)}")
    numbers = np.dtype(DEPTH_ENCODINGS[message.encoding]).newbyteorder(">" if message.is_bigendian else "<")
    return rows_of(message, numbers.itemsize).view(numbers)


def unpacked_depth_of(message: Any) -> NDArray[np.uint16]:
    """Of a compressed depth image, whole millimetres. Raises KarmmaError for a broken one, or one of metres (packed otherwise)."""
    packed = np.frombuffer(message.data, np.uint8)[DEPTH_HEADER_BYTES:] if DEPTH_FORMAT in message.format else np.zeros(0, np.uint8)
    pixels = cv2.imdecode(packed, cv2.IMREAD_UNCHANGED) if len(packed) and "32FC1" not in message.format else None
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise KarmmaError(f"compressed depth images of format {message.format!r} are left out; known: 16UC1; {DEPTH_FORMAT} png")
    return np.asarray(pixels, np.uint16)


def rows_of(message: Any, bytes_per_pixel: int) -> NDArray[np.uint8]:
    """An image's bytes `(height, width · bytes)`, without what pads its rows. Raises KarmmaError if there are too few."""
    pixels, used = np.frombuffer(message.data, np.uint8), bytes_per_pixel * message.width
    if used > message.step or len(pixels) < message.height * message.step or not used * message.height:
        size = f"{message.width} × {message.height} {message.encoding!r}"
        raise KarmmaError(f"images of {size} are left out: {len(pixels)} bytes in rows of {message.step} are no such picture")
    return np.ascontiguousarray(pixels[: message.height * message.step].reshape(message.height, message.step)[:, :used])


def packet_of(message: Any) -> tuple[str, bytes]:
    """Codec and content of a message of Foxglove's CompressedVideo or of an FFMPEGPacket, which may name an encoder (`libx264`,
    `hevc_nvenc`) and what its pictures were. Raises KarmmaError for a codec that is not known."""
    words = str(message.format if hasattr(message, "format") else message.encoding)
    named = words.partition(";")[0].lower()
    codec = next((codec for codec, parts in CODECS.items() if any(part in named for part in parts)), None)
    if codec is None:
        raise KarmmaError(f"video of format {words!r} is left out; known: {', '.join(CODECS)}")
    return codec, np.ascontiguousarray(message.data).tobytes()


def motion_of(message: Any) -> tuple[float, ...]:
    """Of an IMU's message, force (m/s²) and turn (rad/s) along x, y, z. Raises KarmmaError for what is no number."""
    force, turn = message.linear_acceleration, message.angular_velocity
    values = (force.x, force.y, force.z, turn.x, turn.y, turn.z)
    if not np.isfinite(values).all():
        raise KarmmaError("motion that holds no numbers is left out")
    return values
