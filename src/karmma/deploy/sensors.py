"""Where a stream's data comes from: files at the pace they were recorded, cameras, microphones, lines of an IMU.

A sensor is a name and an iterator of (seconds on its own clock, sample). It may block, end, or fail; nobody waits for it.
"""

from __future__ import annotations

import math
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

import av
import av.error
import numpy as np

from ..media.audio import MonoResampler, audio_stream, decode_sound
from ..media.codecs import is_input
from ..media.containers import MediaError, borrow_container, open_container, start_of
from ..media.duration import find_span, span_of_table
from ..media.series import SUFFIXES, key_in_file, read_series
from ..media.tables import SENSOR_COLUMNS, read_table
from ..media.video import DecodedFrame, decode_from
from ..types import KarmmaError, kind_of

Delivery = tuple[float, Any]
SOURCES = ("video", "audio", "imu", "detections", "skeleton", "hands", "depth")
POSES = ("skeleton", "hands")  # whose samples are arrays of joints
MOST_PORT = 65535
EXAMPLES = ("video=/dev/video0", "video=rtsp://…", "audio=alsa:default", "audio=pulse:default", "audio=pcm:-", "imu=-", "imu=tcp:9000",
            "imu=FILE.csv", "detections=FILE.csv", "skeleton=FILE.npz", "skeleton=tcp:9002", "hands=tcp:9003",
            "depth=FILE.mkv", "depth=/dev/video2")
CHUNK_SECONDS = 0.05  # of sound at once
SOUND_SYSTEMS = ("alsa", "pulse")
RETRY_SECONDS = 1.0  # before a lost device is opened again
MOST_COLUMNS = 12  # that are named in full
OPEN_SECONDS, READ_SECONDS = 5.0, 5.0  # after which a network source counts as lost


class Sensor(Protocol):
    """`recorded` samples carry the seconds at which they are to be delivered; others are delivered as they come."""

    @property
    def name(self) -> str: ...

    @property
    def recorded(self) -> bool: ...

    def samples(self) -> Iterator[Delivery]: ...


@dataclass(frozen=True)
class VideoFile:
    """Frames of a file."""

    path: Path
    name: str = "video"
    recorded: bool = True

    def samples(self) -> Iterator[Delivery]:
        for frame in decode_from(self.path, 0.0):
            yield frame.seconds, frame


@dataclass(frozen=True)
class AudioFile:
    """Sound of a file in short pieces, mono."""

    path: Path
    rate_hz: int
    name: str = "audio"
    recorded: bool = True

    def samples(self) -> Iterator[Delivery]:
        with borrow_container(self.path) as container:
            if not container.streams.audio:
                return
            stream = audio_stream(self.path, container)
            resampler = MonoResampler(self.rate_hz, round(self.rate_hz * CHUNK_SECONDS))
            origin = start_of(container, stream)
            for frame in decode_sound(container, stream, origin, math.inf):
                for samples, seconds in resampler.resample(frame):
                    yield seconds - origin, samples


@dataclass(frozen=True)
class TableFile:
    """Rows of a CSV with `seconds`: an IMU, a detector's boxes, or a sensor of another package, whose `others` are its columns.

    The stream begins at its `origin_seconds`.
    """

    path: Path
    name: str
    recorded: bool = True
    origin_seconds: float = 0.0
    others: tuple[str, ...] = ()

    def samples(self) -> Iterator[Delivery]:
        columns = self.others or SENSOR_COLUMNS[kind_of(self.name)]
        table = read_table(self.path, columns)
        for index, second in enumerate((table["seconds"] - self.origin_seconds).tolist()):
            yield second, tuple(table[column][index] for column in columns)


@dataclass(frozen=True)
class SeriesFile:
    """Arrays of an .npz with `seconds`: skeletons, hands, depth pictures in metres. The stream begins at its `origin_seconds`."""

    path: Path
    name: str
    recorded: bool = True
    origin_seconds: float = 0.0

    def samples(self) -> Iterator[Delivery]:
        key, time_axis = key_in_file(self.name, self.path.suffix)
        series = read_series(self.path, key, time_axis, gaps=kind_of(self.name) in POSES)
        if series.seconds is None:
            raise MediaError(f"{self.path}: has no clock; a stream needs an array `seconds` beside {key!r}")
        yield from zip((series.seconds - self.origin_seconds).tolist(), series.values, strict=True)


@dataclass(frozen=True)
class Camera:
    """A V4L2 device, RTSP, HTTP or whatever else the decoder library opens; opened again when it is lost.

    As `depth` it has to deliver 16-bit grey in millimetres, which a V4L2 device is asked for.
    """

    address: str
    name: str = "video"
    recorded: bool = False

    def samples(self) -> Iterator[Delivery]:
        system = device_format(self.address)
        options = {"input_format": "gray16le"} if kind_of(self.name) == "depth" and system is not None else None
        while True:
            yield from until_lost(self.address, system, kind_of(self.name), options)
            time.sleep(RETRY_SECONDS)


@dataclass(frozen=True)
class Microphone:
    """`alsa:default`, `pulse:default`, or a network address; opened again when it is lost."""

    address: str
    rate_hz: int
    name: str = "audio"
    recorded: bool = False

    def samples(self) -> Iterator[Delivery]:
        system = sound_system(self.address)
        device = self.address if system is None else self.address.removeprefix(f"{system}:")
        while True:
            resampler = MonoResampler(self.rate_hz)
            for seconds, frame in until_lost(device, system, "audio"):
                for samples, _ in resampler.resample(frame):
                    yield seconds, samples
            time.sleep(RETRY_SECONDS)


def device_format(address: str) -> str | None:
    return "v4l2" if address.startswith("/dev/video") else None


def sound_system(address: str) -> str | None:
    system = address.partition(":")[0]
    return system if system in SOUND_SYSTEMS else None


def demand_input(text: str, system: str | None) -> None:
    """Raise KarmmaError if this FFmpeg cannot open such devices at all: what it lacks never comes back."""
    if system is None or is_input(system):
        return
    there = [name for name in ("v4l2", *SOUND_SYSTEMS) if is_input(name)]
    raise KarmmaError(f"{text}: FFmpeg has no {system} here; it has {', '.join(there) or 'no devices'} (karmma env tells more)")


def until_lost(address: str, system: str | None, kind: str, options: Mapping[str, str] | None = None) -> Iterator[Delivery]:
    """Frames of a live source until it ends or fails; what it says is printed once per loss."""
    try:
        with open_container(address, format=system, timeout=(OPEN_SECONDS, READ_SECONDS), options=dict(options or {})) as container:
            stream = (container.streams.audio if kind == "audio" else container.streams.video)[0]
            for frame in container.decode(stream):
                if isinstance(frame, av.VideoFrame | av.AudioFrame) and frame.pts is not None:
                    seconds = float(frame.pts * (frame.time_base or 0))
                    yield seconds, DecodedFrame(seconds, frame) if isinstance(frame, av.VideoFrame) else frame
    except (av.error.FFmpegError, OSError, IndexError) as error:
        print(f"karmma: {kind} {address}: {error or 'no such stream'}; trying again", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class PipedSound:
    """16-bit little-endian mono PCM at the student's rate on standard input."""

    rate_hz: int
    name: str = "audio"
    recorded: bool = False

    def samples(self) -> Iterator[Delivery]:
        size, heard = 2 * round(self.rate_hz * CHUNK_SECONDS), 0
        while content := sys.stdin.buffer.read(size):
            samples = np.frombuffer(content[: len(content) // 2 * 2], "<i2").astype(np.float32) / 32768
            yield heard / self.rate_hz, samples
            heard += len(samples)


@dataclass(frozen=True)
class Lines:
    """Rows of an IMU or a detector as lines `seconds,value,value,…` on standard input (`-`) or a TCP socket (`tcp:PORT`).

    Skeletons and hands, too: the coordinates of each joint, of such a `pose_shape`, e.g. (joints, coordinates), with or without a
    confidence behind them. Rows of a sensor of another package have its `others` as columns. Of both cells may be empty.
    """

    address: str
    name: str
    recorded: bool = False
    pose_shape: tuple[int, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What stands in a line behind `seconds`."""
        if self.pose_shape:
            *some, axes = self.pose_shape
            return tuple(f"{axis}{joint}" for joint in range(math.prod(some)) for axis in "xyz"[:axes])
        return self.others or SENSOR_COLUMNS[kind_of(self.name)]

    def sample(self, cells: Sequence[str]) -> Any:
        """What a line says behind `seconds`. Raises ValueError."""
        if self.others or self.pose_shape:
            cells = [cell or "nan" for cell in cells]
        if not self.pose_shape:
            return tuple(cell if column == "label" else float(cell) for column, cell in zip(self.columns, cells, strict=True))
        *some, axes = self.pose_shape
        count = axes + (len(cells) == math.prod(some) * (axes + 1))  # there is a confidence, too
        return np.array(cells, np.float64).astype(np.float32).reshape(*some, count)[..., :axes]

    def samples(self) -> Iterator[Delivery]:
        if self.address == "-":
            yield from self.parsed(sys.stdin)
            return
        with socket.create_server(("127.0.0.1", int(self.address.removeprefix("tcp:")))) as server:
            while True:
                connection, _ = server.accept()
                with connection, connection.makefile("r", encoding="utf-8", errors="replace") as lines:
                    yield from self.parsed(lines)

    def parsed(self, lines: IO[str]) -> Iterator[Delivery]:
        """Lines that cannot be read are named and left out: the sensor goes on."""
        columns = self.columns
        for number, line in enumerate(lines, 1):
            cells = [cell.strip() for cell in line.split(",")]
            if not line.strip() or cells[0] == "seconds":
                continue
            try:
                yield float(cells[0]), self.sample(cells[1:])
            except ValueError:
                wanted = ",".join(columns if len(columns) < MOST_COLUMNS else (*columns[:3], "…", columns[-1]))
                print(f"karmma: {self.name}: line {number} is not seconds,{wanted}: {line[:80]!r}", file=sys.stderr)


class SensorClock:
    """Where a live sensor's own clock lies on the stream's: the least delay seen lately is taken for the true one."""

    def __init__(self, forget_seconds: float = 30.0) -> None:
        self.forget_seconds, self.offset, self.last = forget_seconds, np.inf, -np.inf

    def to_stream(self, own_seconds: float, arrival_seconds: float) -> float:
        """Stream time of a sample. A clock that jumps back or drifts is followed; a moment that is no number stays one."""
        if not math.isfinite(own_seconds):
            return own_seconds
        delay = arrival_seconds - own_seconds
        if own_seconds < self.last - 1.0 or delay > self.offset + 5.0:
            self.offset = np.inf
        drift = 0.01 * max(own_seconds - self.last, 0.0) if np.isfinite(self.last) else 0.0
        self.offset, self.last = min(self.offset + drift, delay), own_seconds
        return float(own_seconds + self.offset)


def parse_source(
    text: str, rate_hz: int, pose_shapes: Mapping[str, tuple[int, ...]] | None = None,
    others: Mapping[str, tuple[str, ...]] | None = None,
) -> list[Sensor]:  # fmt: skip
    """Sensors of one SOURCE on the command line. Raises KarmmaError with what is allowed.

    A media file is camera and microphone at once; otherwise `video=`, `audio=`, `imu=`, `detections=`, `skeleton=`, `hands=`,
    `depth=`, or another one of a kind as `wrist_imu=`, and an address. `rate_hz` and `pose_shapes` by sensor are the student's;
    `others` are columns of sensors of other packages by their names.
    """
    name, separator, address = text.partition("=")
    kind, columns = kind_of(name), (others or {}).get(name, ())
    if not separator or (kind not in SOURCES and not columns):
        path = Path(text)
        if not path.is_file():
            raise KarmmaError(f"{text}: no such file; other sources are {', '.join(EXAMPLES)}")
        return [VideoFile(path), AudioFile(path, rate_hz)]
    file = Path(address)
    if kind in ("video", "depth"):
        return [camera_source(name, address)]
    if kind == "audio":
        if address == "pcm:-":
            return [PipedSound(rate_hz, name)]
        if file.is_file():
            return [AudioFile(file, rate_hz, name)]
        demand_input(text, sound_system(address))
        return [Microphone(address, rate_hz, name)]
    if address == "-" or (address.startswith("tcp:") and is_port(address[4:])):
        return [Lines(address, name, pose_shape=(pose_shapes or {}).get(name, ()), others=columns)]
    if not file.is_file():
        what = "an .npz with `seconds`" if kind in POSES else "a CSV"
        raise KarmmaError(f"{text}: no such file; {what}, - for standard input, or tcp:PORT with a port up to {MOST_PORT}")
    return [SeriesFile(file, name) if kind in POSES else TableFile(file, name, others=columns)]


def is_port(text: str) -> bool:
    return text.isdigit() and int(text) <= MOST_PORT


def begun_together(sensors: Sequence[Sensor]) -> list[Sensor]:
    """Recorded sensors on one clock: tables and arrays begin with the first sample of any of them, beside a film they keep its.

    Raises KarmmaError for a table or an array none of whose samples lies within the film.
    """
    films = {sensor.path for sensor in sensors if isinstance(sensor, VideoFile | AudioFile)}
    spans = {sensor.path: span_of_table(sensor.path) for sensor in sensors if isinstance(sensor, TableFile | SeriesFile)}
    known = {path: span for path, span in spans.items() if span is not None}
    film = find_span(films)
    for path, (first, last) in known.items():
        if film is not None and not (first <= film[1] and last >= 0):
            raise KarmmaError(f"{path}: its seconds go from {first:.2f} to {last:.2f}, the film's to {film[1]:.2f}: another clock?")
    origin = min((first for first, _ in known.values()), default=0.0) if film is None else 0.0
    return [replace(sensor, origin_seconds=origin) if isinstance(sensor, TableFile | SeriesFile) else sensor for sensor in sensors]


def camera_source(name: str, address: str) -> Sensor:
    """A film, arrays of depth pictures, or a live camera of pictures (`video`) or `depth`."""
    file = Path(address)
    if not file.is_file():
        demand_input(f"{name}={address}", device_format(address))
        return Camera(address, name)
    arrays = kind_of(name) == "depth" and file.suffix.lower() in SUFFIXES
    return SeriesFile(file, name) if arrays else VideoFile(file, name)
