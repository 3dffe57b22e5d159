"""A bag's sensors as files that are read here: a film with sound, depth pictures, tables of IMUs, all by the film's seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...files import replacing, stem_of
from ...media.depth_pictures import millimetres_of
from ...media.packets import PacketDecoder
from ...media.ros_messages import depth_of, motion_of, packet_of, picture_of, unpacked_depth_of, unpacked_picture_of
from ...media.write import DepthWriter, VideoWriter, flac_bytes
from ...types import KarmmaError, kind_of
from ..imu_tables import write_imu_table
from .sound import Sound, read_sound
from .topics import COMPRESSED, PACKET, VIDEO, Bag, Topic, choose_topics, open_bag

NOMINAL_HZ = 30.0  # of a film whose pictures come when they come
CRF = 18
PICTURES_APART, ROWS_APART = 0.0015, 0.00015  # seconds that films' and tables' clocks tell from each other
JUMP_SECONDS = 5.0
LATE_SECONDS = 0.1
OnDone = Callable[[int, int], None]


@dataclass
class BagReport:
    """By modality what was written, and what was left out and why."""

    written: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def convert_bag(
    path: Path, out: Path, topics: Mapping[str, str], audio_hz: int | None = None, on_done: OnDone | None = None
) -> BagReport:
    """Write `out/NAME.mp4`, `NAME_imu.csv`, `NAME_depth.mkv`, and others of a kind as `NAME_<modality>`; NAME is the bag's.

    `topics` by modality; without any, the one topic of each kind is taken. Sound becomes mono and goes into the film, or into
    `NAME.flac` where there is none; it needs `audio_hz` where neither an AudioInfo nor an MP3 says its rate. Second 0 is the film's
    first picture, or without a film when the first sensor begins.
    Raises KarmmaError for a bag that cannot be read, a topic that it does not have, or several of which any could be meant.
    """
    with open_bag(path) as bag:
        return BagConversion(bag, out, choose_topics(bag, topics), audio_hz, on_done).write()


class BagConversion:
    """One bag on its way into files."""

    def __init__(self, bag: Bag, out: Path, topics: list[Topic], audio_hz: int | None, on_done: OnDone | None) -> None:
        self.bag, self.out, self.topics, self.audio_hz, self.on_done = bag, out, topics, audio_hz, on_done
        self.name = stem_of(bag.path)
        film = next((topic for topic in topics if topic.modality == "rgb"), None)
        self.begin = film.first_seconds if film is not None else min(topic.first_seconds for topic in topics)
        self.done, self.total = 0, sum(bag.counts[topic.name] for topic in topics)
        self.report = BagReport()

    def write(self) -> BagReport:
        """All files, each of which appears when it is complete."""
        self.out.mkdir(parents=True, exist_ok=True)
        heard = [topic for topic in self.topics if kind_of(topic.modality) == "audio"]
        read = {topic.modality: read_sound(self.bag, topic, self.messages(topic), self.audio_hz) for topic in heard}
        sounds = {modality: sound for modality, sound in read.items() if sound is not None}
        self.report.left_out |= dict.fromkeys(read.keys() - sounds.keys(), "nothing that can be read from second 0 on")
        writers = {"rgb": self.write_film, "depth": self.write_depth, "imu": self.write_motion}
        for topic in self.topics:
            modality = topic.modality
            if kind_of(modality) in writers:
                if said := writers[kind_of(modality)](topic, sounds.get("audio") if modality == "rgb" else None):
                    self.report.written[modality] = said
                else:
                    self.report.left_out.setdefault(modality, "nothing that can be read")
        for modality, sound in sounds.items():
            if modality != "audio" or "rgb" not in self.report.written:
                with replacing(self.path_of(modality, "flac")) as temporary:
                    temporary.write_bytes(flac_bytes(sound.samples, sound.rate_hz))
            self.report.written[modality] = f"{sound.seconds:.2f} s"
        return self.report

    def path_of(self, modality: str, suffix: str) -> Path:
        return self.out / (f"{self.name}.{suffix}" if modality in ("rgb", "audio") else f"{self.name}_{modality}.{suffix}")

    def messages(self, topic: Topic) -> Iterator[tuple[float, Any]]:
        """With the seconds, from the begin on, at which they came."""
        for came, message in self.bag.messages(topic.name):
            yield came - self.begin, message
            self.done += 1
            if self.on_done:
                self.on_done(self.done, self.total)

    def samples(self, topic: Topic, read: Callable[[Any], Any], apart_seconds: float = PICTURES_APART) -> Iterator[tuple[float, Any]]:
        """What messages hold, by rising seconds. What cannot be read is counted, and so is what is no later than the one before, or
        alone far ahead of its time."""
        last, ahead, jumped, counts = -np.inf, -topic.delay_seconds, False, Counter[str]()
        for came, message in self.messages(topic):
            seconds = topic.moment(message, came + self.begin) - self.begin
            jumped = not jumped and seconds - came - ahead > JUMP_SECONDS
            if jumped or seconds < last + apart_seconds:
                counts["with a stamp far ahead of its time" if jumped else "no later than those before"] += 1
                continue
            try:
                sample = read(message)
            except KarmmaError as error:
                counts[str(error)] += 1
                continue
            last, ahead = seconds, seconds - came
            yield seconds, sample
        if counts:
            self.report.left_out[topic.modality] = "; ".join(f"{count} messages: {words}" for words, count in counts.items())

    def pictures(self, topic: Topic) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """RGB, by rising seconds, of raw or compressed pictures or of video."""
        kind = self.bag.kinds[topic.name]
        if kind not in (VIDEO, PACKET):
            yield from self.samples(topic, unpacked_picture_of if kind == COMPRESSED else picture_of)
            return
        decoder = PacketDecoder()
        yield from decoder.pictures(self.samples(topic, packet_of))
        if decoder.undecoded:
            words = f"{decoder.undecoded} messages: no picture comes of them, as before the first key frame"
            self.report.left_out[topic.modality] = "; ".join(filter(None, (self.report.left_out.get(topic.modality), words)))

    def write_film(self, topic: Topic, sound: Sound | None) -> str:
        """H.264 whose pictures are shown from when they were taken on, in the size of the first one, made even. The first one is shown
        from second 0 on: files count from their first picture."""
        writer, size, count, first, last = None, (0, 0), 0, 0.0, 0.0
        with ExitStack() as stack:
            for seconds, picture in self.pictures(topic):
                if seconds < 0:
                    continue
                if writer is None:
                    size, path = (picture.shape[1] // 2 * 2, picture.shape[0] // 2 * 2), self.path_of(topic.modality, "mp4")
                    rate_hz = sound.rate_hz if sound else None
                    writer, first = stack.enter_context(VideoWriter(path, *size, NOMINAL_HZ, rate_hz, crf=CRF, timed=True)), seconds
                writer.write_frame(fitted(picture, *size), seconds if count else 0.0)
                count, last = count + 1, seconds
            if writer is not None and sound is not None:
                writer.write_audio(sound.samples)
        return f"{count} pictures in {last:.2f} s{words_of_begin(first)}" if count else ""

    def write_depth(self, topic: Topic, _: Any) -> str:
        """Without loss, in whole millimetres; the first picture from second 0 on, as films have it."""
        read = unpacked_depth_of if self.bag.kinds[topic.name] == COMPRESSED else depth_of
        path, count, first = self.path_of(topic.modality, "mkv"), 0, 0.0
        with replacing(path) as temporary, DepthWriter(temporary) as writer:
            for seconds, picture in self.samples(topic, lambda message: millimetres_of(read(message))):
                if seconds >= 0:
                    writer.write(picture, seconds if count else 0.0)
                    count, first = count + 1, first if count else seconds
        if not count:
            path.unlink()
        return f"{count} pictures{words_of_begin(first)}" if count else ""

    def write_motion(self, topic: Topic, _: Any) -> str:
        rows = [(seconds, *row) for seconds, row in self.samples(topic, motion_of, ROWS_APART)]
        if not rows:
            return ""
        values = np.array(rows)
        table = write_imu_table(self.path_of(topic.modality, "csv"), values[:, 0], values[:, 1:], len(rows))
        return f"{table.rows} rows, {table.start_seconds:.2f} to {table.stop_seconds:.2f} s"


def words_of_begin(seconds: float) -> str:
    """What is said of pictures that begin later than the film that all seconds count from."""
    return f" (none before {seconds:.2f} s: the first one stands from second 0 on)" if seconds > LATE_SECONDS else ""


def fitted(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A picture of that size: without its last row and column if it is as large but for them, else resized."""
    if width <= picture.shape[1] <= width + 1 and height <= picture.shape[0] <= height + 1:
        return picture[:height, :width]
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
