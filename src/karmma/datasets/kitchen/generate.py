"""Writes a simulated set: recordings of every participant and annotations in EPIC-KITCHENS-100's own CSV columns.

```
DIR/videos/P03/P03_01.MP4      H.264 + AAC
DIR/boxes/P03/P03_01.csv       seconds,label,score,left,top,right,bottom   (edges as shares of the picture)
DIR/imu/P03/P03_01.csv         seconds,accel_x,…,gyro_z                    (m/s², rad/s)
DIR/hands/P03/P03_01.npz      seconds, hands (time × 2 × 21 × 3)           (metres, from the head; if hands_hz is given)
DIR/truth/P03/P03_01.npz       exact flow and depth, on demand
DIR/annotations/KITCHEN_{source,train,validation,test}.csv, KITCHEN_{verb,noun}_classes.csv,
                KITCHEN_tail_{verbs,nouns}.csv, KITCHEN_unseen_participant_ids.csv, KITCHEN_video_info.csv
DIR/kitchen.json               version, seed, knobs; written last: a set without it is unfinished
```
"""

from __future__ import annotations

import csv
import dataclasses
import json
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...files import read_json, replacing, write_csv, write_json
from ...media.write import VideoWriter
from ...types import KarmmaError
from ...workers import count_workers, worker_pool
from .boxes import Box, Detector
from .head import HeadMotion, make_head, measure_imu
from .knobs import KITCHEN_VERSION, KitchenConfig
from .motion import FloatArray, depth_and_flow
from .renderer import Renderer
from .scene import Kitchen, furnish
from .screenplay import Labelled, play
from .sound import Samples, synthesise
from .tracker import track_hands
from .vocabulary import NOUNS, VERBS

ANNOTATION_COLUMNS = (
    "narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp", "stop_timestamp", "start_frame",
    "stop_frame", "narration", "verb", "verb_class", "noun", "noun_class", "all_nouns", "all_noun_classes",
)  # fmt: skip
BOX_COLUMNS = ("seconds", "label", "score", "left", "top", "right", "bottom")
IMU_COLUMNS = ("seconds", "accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z")


@dataclass(frozen=True)
class RecordingPlan:
    """Which recording to make: split, participant, running number."""

    split: str
    participant: str
    number: int

    @property
    def video_id(self) -> str:
        return f"{self.participant}_{self.number:02d}"


def plan_recordings(config: KitchenConfig) -> list[RecordingPlan]:
    """All recordings; participants are numbered through, so that no participant is in two splits."""
    plans, number = [], 0
    for split, count in config.participants.items():
        for _ in range(count):
            number += 1
            plans += [
                RecordingPlan(split, f"P{number:02d}", index + 1) for index in range(config.recordings_per_participant)
            ]
    return plans


def random_for(config: KitchenConfig, *purpose: str) -> np.random.Generator:
    """A generator of its own for every purpose, so that one knob does not shift what another draws."""
    return np.random.default_rng([config.seed, *(zlib.crc32(word.encode()) for word in purpose)])


def simulate(
    directory: Path, config: KitchenConfig, *, workers: int = 0, on_done: Callable[[int, int], None] | None = None
) -> Path:
    """Write the whole set into `directory`; recordings that are already there are kept. Returns the directory.

    `workers` 0 takes one process per core. `on_done(done, total)` is told of every finished recording.
    Raises KarmmaError if `directory` holds a set of another seed, version or knobs.
    """
    check_settings(directory, config)
    plans = plan_recordings(config)
    workers = count_workers(workers, len(plans))
    if workers == 1:
        for done, plan in enumerate(plans, 1):
            write_recording(directory, plan, config)
            if on_done:
                on_done(done, len(plans))
    else:
        with worker_pool(workers) as pool:
            jobs = [pool.submit(write_recording, directory, plan, config) for plan in plans]
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                if on_done:
                    on_done(done, len(plans))
    write_annotations(directory, plans, config)
    write_json(directory / "kitchen.json", describe(config))
    return directory


def describe(config: KitchenConfig) -> dict[str, object]:
    return {"version": KITCHEN_VERSION, **dataclasses.asdict(config)}


def check_settings(directory: Path, config: KitchenConfig) -> None:
    """A directory belongs to one seed and one set of knobs, noted before the first recording is written."""
    note = directory / "settings.json"
    if note.exists():
        there = describe(KitchenConfig()) | read_json(note)  # without a knob that is newer
        for key, value in describe(config).items():
            if there.get(key) != json.loads(json.dumps(value)):
                raise KarmmaError(
                    f"{directory} holds a kitchen with {key} = {there.get(key)!r}, not {value!r}; simulate into another directory"
                )
    directory.mkdir(parents=True, exist_ok=True)
    write_json(note, describe(config))


def write_recording(directory: Path, plan: RecordingPlan, config: KitchenConfig) -> None:
    """Film one recording; its labels are written last and mark it as done."""
    done = directory / "labels" / f"{plan.video_id}.csv"
    if done.exists():
        return
    kitchen = furnish(random_for(config, plan.participant), config)
    random = random_for(config, plan.video_id)
    stage, labelled = play(kitchen, plan.split, config, random)
    head = make_head(stage, config, random)
    sound = synthesise(stage.sounds, config, random_for(config, plan.video_id, "sound"), kitchen.habits.pitch)
    imu = measure_imu(head, config, random_for(config, plan.video_id, "imu"))
    missing = random_for(config, plan.video_id, "missing").random(4) < config.missing_sensor_rate
    video = directory / "videos" / plan.participant / f"{plan.video_id}.MP4"
    box_rows = film(video, plan, kitchen, head, config, None if missing[0] else sound)
    if not missing[1]:
        write_csv(directory / "boxes" / plan.participant / f"{plan.video_id}.csv", BOX_COLUMNS, box_rows)
    if not missing[2]:
        rows = ([f"{row[0]:.3f}", *(f"{value:.4f}" for value in row[1:])] for row in imu)
        write_csv(directory / "imu" / plan.participant / f"{plan.video_id}.csv", IMU_COLUMNS, rows)
    if config.hands_hz and not missing[3]:
        with replacing(directory / "hands" / plan.participant / f"{plan.video_id}.npz") as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **track_hands(head, config, random_for(config, plan.video_id, "hands")))
    write_csv(done, ANNOTATION_COLUMNS, annotation_rows(plan, labelled, config))


def film(
    video: Path, plan: RecordingPlan, kitchen: Kitchen, head: HeadMotion, config: KitchenConfig, sound: Samples | None
) -> list[list[str]]:
    """Render, encode and detect; returns the rows of the box file. `sound` None writes no audio track."""
    renderer = Renderer(kitchen.parts, kitchen.light, config, random_for(config, plan.video_id, "film"))
    detector_random = random_for(config, plan.video_id, "boxes")
    detector = Detector(kitchen.parts, renderer.part_of_face, config.box_noise_level, detector_random)
    seconds = np.arange(int(config.recording_seconds * config.frames_hz) + 1) / config.frames_hz
    every, rows, truth = max(round(config.frames_hz / config.boxes_hz), 1), [], []
    sample_rate_hz = config.audio_hz if sound is not None else None
    with VideoWriter(video, config.width, config.height, config.frames_hz, sample_rate_hz) as writer:
        for index, frame in enumerate(renderer.film(head, seconds)):
            writer.write_frame(frame.rgb)
            if index % every == 0:
                rows += [box_row(float(seconds[index]), box) for box in detector.detect(frame.faces)]
            if config.write_flow or config.write_depth:
                truth.append(depth_and_flow(frame.faces, frame.geometry, renderer.rays))
        if sound is not None:
            writer.write_audio(sound)
    if truth:
        write_truth(video.parents[2] / "truth" / plan.participant / f"{plan.video_id}.npz", truth, config)
    return rows


def box_row(second: float, box: Box) -> list[str]:
    edges = (box.left, box.top, box.right, box.bottom)
    return [f"{second:.3f}", box.label, f"{box.score:.2f}", *(f"{edge:.4f}" for edge in edges)]


def write_truth(path: Path, truth: Sequence[tuple[FloatArray, FloatArray]], config: KitchenConfig) -> None:
    """Exact flow in pixels to the next frame and depth in metres, as float16."""
    arrays = {"seconds": np.arange(len(truth)) / config.frames_hz}
    if config.write_depth:
        arrays["depth_metres"] = np.stack([depth for depth, _ in truth]).astype(np.float16)
    if config.write_flow:
        arrays["flow_pixels"] = np.stack([flow for _, flow in truth]).astype(np.float16)
    with replacing(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def timestamp(seconds: float) -> str:
    """EPIC's HH:MM:SS.ss."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{seconds % 60:05.2f}"


def annotation_rows(plan: RecordingPlan, labelled: list[Labelled], config: KitchenConfig) -> list[list[object]]:
    rows: list[list[object]] = []
    for index, row in enumerate(labelled):
        verb, noun = row.pair.verb, row.pair.noun
        frames = (round(row.start_seconds * config.frames_hz) + 1, round(row.stop_seconds * config.frames_hz) + 1)
        rows.append([
            f"{plan.video_id}_{index}", plan.participant, plan.video_id, timestamp(row.start_seconds), timestamp(row.start_seconds),
            timestamp(row.stop_seconds), *frames, f"{verb} {noun}", verb, VERBS.index(verb), noun, NOUNS.index(noun),
            str([noun]), str([NOUNS.index(noun)]),
        ])  # fmt: skip
    return rows


def write_annotations(directory: Path, plans: list[RecordingPlan], config: KitchenConfig) -> None:
    """Join the recordings' labels into one CSV a split, and write the class, tail and unseen lists."""
    annotations, counts = directory / "annotations", {"verb": Counter[str](), "noun": Counter[str]()}
    for split in config.participants:
        rows = []
        for plan in plans:
            if plan.split == split:
                with (directory / "labels" / f"{plan.video_id}.csv").open(newline="") as file:
                    rows += list(csv.reader(file))[1:]
        write_csv(annotations / f"KITCHEN_{split}.csv", ANNOTATION_COLUMNS, rows)
        if split == "train":
            for row in rows:
                counts["verb"][row[9]] += 1
                counts["noun"][row[11]] += 1
    for kind, names in (("verb", VERBS), ("noun", NOUNS)):
        write_csv(annotations / f"KITCHEN_{kind}_classes.csv", ("id", "key"), list(enumerate(names)))
        write_csv(annotations / f"KITCHEN_tail_{kind}s.csv", (kind,), [[index] for index in tail(counts[kind], names)])
    unseen = sorted({plan.participant for plan in plans if plan.split in ("validation", "test")})
    write_csv(annotations / "KITCHEN_unseen_participant_ids.csv", ("participant_id",), [[name] for name in unseen])
    info = [[plan.video_id, config.recording_seconds, config.frames_hz, f"{config.width}x{config.height}"] for plan in plans]
    write_csv(annotations / "KITCHEN_video_info.csv", ("video_id", "duration", "fps", "resolution"), info)


def tail(counts: Counter[str], names: Sequence[str]) -> list[int]:
    """Classes outside those that make up the first 80 % of the training labels, as EPIC-KITCHENS-100 defines its tail."""
    total, seen, frequent = sum(counts.values()), 0, set()
    for name, count in counts.most_common():
        if seen < 0.8 * total:
            frequent.add(name)
        seen += count
    return [index for index, name in enumerate(names) if name not in frequent]
