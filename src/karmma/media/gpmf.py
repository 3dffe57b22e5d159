"""Telemetry that GoPro cameras write beside their film: a track of GPMF, as the makers describe it (github.com/gopro/gpmf-parser)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av.error
import numpy as np
from av.container.input import InputContainer
from numpy.typing import NDArray

from .containers import MediaError, open_container, start_of

NUMBERS = {"b": ">i1", "B": ">u1", "s": ">i2", "S": ">u2", "l": ">i4", "L": ">u4", "f": ">f4", "d": ">f8"}
DISCARD_ALL = 48  # FFmpeg's number
UNITS = {"ACCL": "m/s²", "GYRO": "rad/s"}


@dataclass(frozen=True)
class Item:
    """One key with its value, of a kind that a letter tells."""

    key: str
    kind: str
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("latin-1").strip("\0 ")

    def numbers(self) -> NDArray[np.float64]:
        """Raises ValueError for what holds no numbers."""
        if self.kind not in NUMBERS:
            raise ValueError(f"{self.key} is of kind {self.kind!r}, no numbers")
        return np.frombuffer(self.content, NUMBERS[self.kind]).astype(np.float64)


@dataclass(frozen=True)
class Measured:
    """What a sensor of three axes measured: `values` `(samples, 3)` at `seconds`, in the unit of `UNITS`.

    `order`: which axis of the camera each column is, small letters turned round, e.g. `YxZ`; empty where nobody says.
    """

    seconds: NDArray[np.float64]
    values: NDArray[np.float64]
    order: str = ""


@dataclass(frozen=True)
class Telemetry:
    """The camera's own name, and what its accelerometer and gyroscope measured."""

    device: str
    force: Measured
    turn: Measured


def read_telemetry(path: Path) -> Telemetry:
    """Accelerometer and gyroscope of a camera's film, on the film's clock.

    Samples of a payload lie evenly in the time that the track gives it. Raises MediaError for a missing or unreadable file, one
    without such a track, or a track without both sensors, of other units, or broken.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    device, parts = "", {key: list[Measured]() for key in UNITS}
    try:
        with open_container(str(path)) as container:
            for start_seconds, span_seconds, payload in payloads_of(container):
                for stream in (item for top in read_items(payload) if top.key == "DEVC" for item in read_items(top.content)):
                    device = stream.text if stream.key == "DVNM" else device
                    if stream.key == "STRM" and (found := measured(stream, start_seconds, span_seconds)):
                        parts[found[0]].append(found[1])
        lacking = [key for key, pieces in parts.items() if not pieces]
        if not lacking:
            return Telemetry(device, joined(parts["ACCL"]), joined(parts["GYRO"]))
    except (av.error.FFmpegError, OSError) as error:  # some of which are ValueErrors, too
        raise MediaError(f"{path}: {error}") from error
    except (ValueError, struct.error) as error:
        raise MediaError(f"{path}: broken telemetry: {error}") from error
    raise MediaError(f"{path}: no telemetry of a GoPro camera in it, or without {' and '.join(lacking)}")


def payloads_of(container: InputContainer) -> Iterator[tuple[float, float, bytes]]:
    """Start, length and content of every payload of a track of GPMF, known by how its first one begins; nothing without one."""
    tracks = container.streams.data
    origin = start_of(container, tracks[0]) if tracks else 0.0
    others: list[Any] = [stream for stream in container.streams if stream not in tracks]
    for stream in others:
        if hasattr(stream, "discard"):  # of newer PyAV: hours of film need not be read then
            stream.discard = DISCARD_ALL
    for packet in container.demux(tracks) if tracks else ():
        content = bytes(packet)
        if content.startswith(b"DEVC") and packet.pts is not None and packet.time_base is not None:
            yield float(packet.pts * packet.time_base) - origin, float((packet.duration or 0) * packet.time_base), content


def read_items(payload: bytes) -> Iterator[Item]:
    """The keys of a payload or of what is nested in one. Raises ValueError where a value reaches beyond the end."""
    at = 0
    while at + 8 <= len(payload):
        key, kind, size, count = struct.unpack(">4scBH", payload[at : at + 8])
        length = size * count
        if at + 8 + length > len(payload):
            raise ValueError(f"{key!r} at byte {at} reaches beyond the end")
        if key != b"\0\0\0\0":
            yield Item(key.decode("latin-1"), kind.decode("latin-1"), payload[at + 8 : at + 8 + length])
        at += 8 + -(-length // 4) * 4


def measured(stream: Item, start_seconds: float, span_seconds: float) -> tuple[str, Measured] | None:
    """Of a stream of accelerometer or gyroscope its key and samples; None of others. Raises ValueError for other units or axes."""
    items = {item.key: item for item in read_items(stream.content)}
    key = next((key for key in UNITS if key in items), None)
    if key is None:
        return None
    unit = items["SIUN"].text if "SIUN" in items else UNITS[key]
    if unit != UNITS[key]:
        raise ValueError(f"{key} is in {unit!r}, expected {UNITS[key]!r}")
    scale = items["SCAL"].numbers() if "SCAL" in items else np.ones(1)
    values = items[key].numbers()
    if len(values) % 3 or len(scale) not in (1, 3) or not scale.all():
        raise ValueError(f"{key} has {len(values)} values and {len(scale)} scales, expected three axes")
    samples = values.reshape(-1, 3) / scale
    seconds = start_seconds + np.arange(len(samples)) / max(len(samples), 1) * span_seconds
    return key, Measured(seconds, samples, items["ORIN"].text if "ORIN" in items else "")


def joined(pieces: list[Measured]) -> Measured:
    """One after another. Raises ValueError if they name different axes."""
    orders = sorted({piece.order for piece in pieces})
    if len(orders) > 1:
        raise ValueError(f"axes in the orders {', '.join(orders)}")
    seconds, values = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("seconds", "values"))
    return Measured(seconds, values, orders[0])
