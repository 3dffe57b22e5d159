"""Which topics of a bag are which modality, how their clocks lie to each other, and their messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median_low
from typing import Any

from ...media.containers import MediaError
from ...media.ros_messages import DEPTH_ENCODINGS, DEPTH_FORMAT, seconds_of, stamp_seconds
from ...types import KarmmaError, kind_of

IMAGE, COMPRESSED, IMU = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Imu"
SOUNDS = {  # by message the type of its samples
    "audio_common_msgs/msg/AudioData": "<i2", "audio_common_msgs/msg/AudioDataStamped": "<i2",
    "std_msgs/msg/Int16MultiArray": "<i2", "std_msgs/msg/Float32MultiArray": "<f4",
}  # fmt: skip
AUDIO_INFO = "audio_common_msgs/msg/AudioInfo"
VIDEO, PACKET = "foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
KINDS = {"rgb": (IMAGE, COMPRESSED, VIDEO, PACKET), "depth": (IMAGE, COMPRESSED), "imu": (IMU,), "audio": tuple(SOUNDS)}
FIRST_MESSAGES = 50  # by which a topic's clock is judged
MEND = "; if its recording was cut short: `ros2 bag reindex`, `mcap recover` or `rosbag reindex` first"
ONE_CLOCK_SECONDS = 2.0  # stamps no further from when they came are of the bag's clock


@dataclass(frozen=True)
class Topic:
    """A sensor of a bag: its modality, its topic's name, by how much its stamps are behind the bag's clock if they are of another
    one, how long its messages usually take to come, and when it begins."""

    modality: str
    name: str
    behind_seconds: float
    delay_seconds: float
    first_seconds: float

    def moment(self, message: Any, came_seconds: float) -> float:
        """When a message was measured, by the bag's clock: by its stamp, or when it came if it has none."""
        stamp = stamp_of(message)
        return stamp + self.behind_seconds if stamp else came_seconds


class Bag:
    """An open bag. Use `open_bag`."""

    def __init__(self, path: Path, reader: Any) -> None:
        self.path, self.reader = path, reader
        found = reader.topics  # each with one connection for every node that published it and every file that holds some of it
        self.connections: dict[str, list[Any]] = {topic: info.connections for topic, info in found.items()}
        self.kinds = {topic: info.msgtype or "of several types" for topic, info in found.items()}
        self.counts = {topic: int(info.msgcount) for topic, info in found.items()}  # of messages

    def messages(self, topic: str) -> Iterator[tuple[float, Any]]:
        """A topic's messages in order of their arrival, each with the second at which it came. Raises MediaError."""
        with naming(self.path):
            for connection, nanoseconds, raw in self.reader.messages(connections=self.connections[topic]):
                yield nanoseconds / 1e9, self.reader.deserialize(raw, connection.msgtype)

    @property
    def listed(self) -> str:
        return ", ".join(f"{topic} ({kind})" for topic, kind in self.kinds.items()) or "none"


@contextmanager
def naming(path: Path, advice: str = "") -> Iterator[None]:
    """What rosbags and what it is built on raise for a broken bag, as MediaError with its path."""
    try:
        yield
    except KarmmaError:
        raise
    except Exception as error:  # whatever a broken file leads YAML, SQLite, LZ4, MCAP and rosbags' own parsers to: no list is complete
        raise MediaError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}{advice}") from error


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """A bag of ROS 1 (a file) or ROS 2 (its directory, or a file of it; a recorder that was killed has written no metadata.yaml).

    Raises MediaError for one that cannot be read, with what mends a bag whose recording was cut short.
    """
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    with naming(path, MEND):
        reader = AnyReader(files_of(path), default_typestore=get_typestore(Stores.LATEST))
        reader.open()
    try:
        with naming(path):
            bag = Bag(path, reader)
        yield bag
    finally:
        reader.close()


def files_of(path: Path) -> list[Path]:
    """What rosbags is to open: a bag as it is, or the files of a directory without metadata.yaml in the order of their numbers."""
    if not path.is_dir() or (path / "metadata.yaml").exists():
        return [path]
    files = [file for file in path.iterdir() if file.suffix in (".db3", ".mcap") and file.stat().st_size]
    return sorted(files, key=lambda file: (len(file.name), file.name)) or [path]


def choose_topics(bag: Bag, wanted: Mapping[str, str]) -> list[Topic]:
    """The topics of modalities; without any, the one topic of each kind. Raises KarmmaError with what there is."""
    for modality, topic in wanted.items():
        kinds = KINDS.get(kind_of(modality))
        if kinds is None:
            raise KarmmaError(f"{modality}={topic}: of bags are read {', '.join(KINDS)}, and others of these kinds")
        if topic not in bag.kinds:
            raise KarmmaError(f"{bag.path}: no topic {topic}; there is: {bag.listed}")
        if bag.kinds[topic] not in kinds:
            raise KarmmaError(f"{bag.path}: {topic} is {bag.kinds[topic]}; {modality} has to be {' or '.join(kinds)}")
    names = wanted or guess_topics(bag)
    if not names:
        raise KarmmaError(f"{bag.path}: no topic of a camera or an IMU; there is: {bag.listed}")
    return [judge_clock(bag, modality, topic) for modality, topic in names.items()]


def guess_topics(bag: Bag) -> dict[str, str]:
    """The one topic of each kind but sound, whose rate nobody tells; raw pictures go before compressed ones."""
    found: dict[tuple[str, str], list[str]] = {}
    for topic, kind in bag.kinds.items():
        if modality := modality_of_topic(bag, topic):
            found.setdefault((modality, kind), []).append(topic)
    names = {}
    for modality in ("rgb", "depth", "imu"):
        listed = next((found[modality, kind] for kind in KINDS[modality] if (modality, kind) in found), [])
        if len(listed) > 1:
            which = ", ".join(listed)
            raise KarmmaError(f"{bag.path}: {modality} may be any of {which}; say which: --topic {modality}={listed[0]}")
        if listed:
            names[modality] = listed[0]
    return names


def modality_of_topic(bag: Bag, topic: str) -> str:
    """Which modality a topic may be, by its first message; none for one without messages, or of another type."""
    kind = bag.kinds[topic]
    if kind == IMU:
        return "imu"
    first = next(bag.messages(topic), None) if kind in KINDS["rgb"] else None
    if first is None:
        return ""
    message = first[1]
    if kind in (VIDEO, PACKET):
        source = message.encoding.rpartition(";")[2] if kind == PACKET else ""
        return "" if source in DEPTH_ENCODINGS else "rgb"
    is_depth = message.encoding in DEPTH_ENCODINGS if kind == IMAGE else DEPTH_FORMAT in message.format
    return "depth" if is_depth else "rgb"


def judge_clock(bag: Bag, modality: str, topic: str) -> Topic:
    """A topic with its clock: its stamps count as they are, unless they are of another clock than the bag's; then the least delay of
    its first messages is taken for none. Single odd stamps among them do not count."""
    first = [(stamp_of(message), came) for came, message in islice(bag.messages(topic), FIRST_MESSAGES)]
    if not first:
        raise KarmmaError(f"{bag.path}: {topic} has no messages")
    stamped = [(stamp, came - stamp) for stamp, came in first if stamp]
    if not stamped:
        return Topic(modality, topic, 0.0, 0.0, first[0][1])
    usual = median_low(delay for _, delay in stamped)
    sound = [(stamp, delay) for stamp, delay in stamped if abs(delay - usual) <= ONE_CLOCK_SECONDS]
    behind = min(delay for _, delay in sound) if abs(usual) > ONE_CLOCK_SECONDS else 0.0
    return Topic(modality, topic, behind, usual - behind, sound[0][0] + behind)


def stamp_of(message: Any) -> float:
    """A message's stamp in seconds, 0 without one."""
    if hasattr(message, "header"):
        return stamp_seconds(message.header)
    return seconds_of(message.timestamp) if hasattr(message, "timestamp") else 0.0
