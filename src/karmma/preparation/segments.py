"""One labelled segment as a few small files: video, flow, sound, boxes, imu; and a row that says what is there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from pydantic.dataclasses import dataclass as validated

from ..config import STRICT, Amount, Count, Natural, Positive
from ..data.manifest import Segment, Source
from ..data.reading import find_bounds
from ..media.audio import read_audio
from ..media.containers import MediaError
from ..media.flow import Preset, compute_flow
from ..media.pictures import (
    FLOW,
    PictureSequence,
    compute_picture_flow,
    length_of_pictures,
    read_picture_flow,
    read_picture_frames,
    read_pictures_at,
)
from ..media.video import DecodedFrame, Pictures, decode_from
from ..media.write import flac_bytes
from ..types import KarmmaError, kind_of
from .cuts import cut_depth_pictures, cut_file
from .encoding import film_bytes, flow_bytes, scaled_size

LATE_SECONDS = 0.5  # a segment may reach this far beyond the last frame


@validated(frozen=True, config=STRICT)
class PrepareConfig:
    """What a prepared set holds. Video: `short_side` pixels at `frames_hz` (at most what the source has); `crf` as in x264.

    Flow: between pictures `flow_step_seconds` apart (no less than a frame of the source), about `flow_hz` times a second,
    `flow_short_side` pixels, in bytes that reach to ±`flow_bound_pixels`; `flow_hz` 0 leaves it out. Sound: lossless mono.
    Flow that comes as pictures whose bound their data set does not say reaches to ∓`pictures_bound_pixels` within that step.
    `margin_seconds` of context on both sides: sound and imu are read in windows that may be longer than a segment. `rates_hz`: of
    arrays that have no clock and are of whole recordings, by modality. `imu_offset_seconds`: as `modalities.imu.offset_seconds` of
    the recipes that will read the set.
    """

    short_side: Count = 256
    frames_hz: Positive = 30.0
    crf: Natural = 23
    flow_short_side: Count = 112
    flow_hz: Amount = 10.0
    flow_step_seconds: Positive = 1 / 15
    flow_bound_pixels: Positive = 10.0
    flow_preset: Preset = "auto"
    pictures_bound_pixels: Positive = 20.0
    audio_hz: Count = 16000
    margin_seconds: Amount = 1.5
    segments_per_shard: Count = 32
    rates_hz: dict[str, Positive] = field(default_factory=dict)
    imu_offset_seconds: float = 0.0


@dataclass
class PreparedSegment:
    """Files by suffix, the row of the index, and the words of what failed by modality."""

    files: dict[str, bytes] = field(default_factory=dict)
    row: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def prepare_segment(segment: Segment, split: str, config: PrepareConfig) -> PreparedSegment:
    """Read and re-encode one segment. What is broken goes into `failures`; what was never there is just not there.

    Raises OSError only where the disk is at fault.
    """
    made = PreparedSegment()
    try:
        start, stop = find_bounds(segment)
    except MediaError as error:
        made.failures = dict.fromkeys(segment.sources, str(error))
        return made
    earliest, last = start - config.margin_seconds, stop + config.margin_seconds
    first = max(earliest, min(start, 0.0))
    for name, source in segment.sources.items():
        ahead = segment.ahead_seconds.get(name, 0.0)  # which a shard's clocks no longer are
        try:
            prepare_modality(made, name, source, (earliest + ahead, first + ahead, stop + ahead, last + ahead), config)
        except MediaError as error:
            made.failures[name] = str(error)
    present = {name: name in made.row.get("present", ()) for name in segment.sources}
    made.row = {
        "name": segment.name, "split": split, "participant": segment.participant,
        "start_seconds": start - first, "stop_seconds": stop - first, "source_start_seconds": start,
        "labels": json.dumps(segment.labels), "present": "+".join(name for name, there in present.items() if there),
        "bytes": sum(map(len, made.files.values())),
    }  # fmt: skip
    return made


def prepare_modality(
    made: PreparedSegment, name: str, source: Source, span: tuple[float, float, float, float],
    config: PrepareConfig,
) -> None:  # fmt: skip
    """Add one modality's file. Raises MediaError where the source is broken or does not reach that far."""
    kind, (earliest, first, stop, last) = kind_of(name), span
    content: bytes | None
    if isinstance(source, PictureSequence):
        content, suffix = prepare_pictures(kind, source, first, stop, last, config)
    elif not isinstance(source, Path):
        raise MediaError(f"{source.path}: shards are prepared already; karmma reads them as they are")
    elif kind == "rgb":
        content, suffix = transcode(source, first, stop, last, config), "mp4"
    elif kind == "flow":
        content, suffix = (flow_file(source, first, last, config) if config.flow_hz else None), "flow.npz"
    elif kind == "audio":
        samples = read_audio(source, first, last, config.audio_hz)
        content, suffix = (None if samples is None else flac_bytes(samples, config.audio_hz)), "flac"
    else:
        ahead_seconds = config.imu_offset_seconds if name == "imu" else 0.0
        content, suffix = cut_file(
            name, source, first, last, rate_hz=config.rates_hz.get(name), ahead_seconds=ahead_seconds, earliest=earliest
        ) or (None, name)
    if content is not None:
        made.files[suffix if name == kind else f"{name}.{suffix.rpartition('.')[2]}"] = content
        made.row.setdefault("present", []).append(name)


def prepare_pictures(
    kind: str, source: PictureSequence, first: float, stop: float, last: float, config: PrepareConfig
) -> tuple[bytes | None, str]:
    """A stretch of numbered pictures as the same files that a video would have become, and their suffix."""
    if kind == "depth":
        return cut_depth_pictures(source, first, last), "depth.mkv"
    if kind not in ("rgb", "flow"):
        raise MediaError(f"{source.path}: {kind} cannot be read from pictures")
    if kind == "flow" and not config.flow_hz:
        return None, "flow.npz"
    end = length_of_pictures(source)
    if end < stop - LATE_SECONDS:
        raise MediaError(f"{source.path}: segment ends at {stop:.2f} s, but the last picture at {end:.2f} s")
    moments = moments_of(first, min(last, end - 0.5 / source.frames_hz), config.flow_hz if kind == "flow" else config.frames_hz)
    height, width = next(read_pictures_at(source, moments[:1], cv2.IMREAD_GRAYSCALE)).shape
    if kind == "rgb":
        pictures = read_picture_frames(source, moments, *scaled_size(width, height, config.short_side))
        return film_bytes(list(pictures), config.frames_hz, config.crf), "mp4"
    size = scaled_size(width, height, config.flow_short_side)
    if source.part == FLOW:
        fields = read_picture_flow(source, moments, *size, config.pictures_bound_pixels, config.flow_step_seconds)
    else:
        fields = compute_picture_flow(source, moments, *size, config.flow_step_seconds, config.flow_preset)
    seconds = [moment - first for moment in moments]
    return flow_bytes(list(fields), seconds, config.flow_bound_pixels, config.flow_step_seconds), "flow.npz"


def moments_of(first: float, last: float, rate_hz: float) -> list[float]:
    """`first`, `first` + 1/rate, … up to `last`."""
    return [first + index / rate_hz for index in range(int(max(last - first, 0.0) * rate_hz + 1e-6) + 1)]


def upright_size(frame: DecodedFrame, short_side: int) -> tuple[int, int]:
    """Even width and height of an upright frame with that short side."""
    width, height = frame.frame.width, frame.frame.height
    return scaled_size(*((height, width) if round(frame.frame.rotation / 90) % 2 else (width, height)), short_side)


def pictures_at(path: Path, first: float, last: float, rate_hz: float, short_side: int) -> tuple[list[float], list[Pictures]]:
    """The pictures shown at `first`, `first` + 1/rate, … up to `last` or the last frame."""
    moments: list[float] = []
    pictures: list[Pictures] = []
    held: DecodedFrame | None = None
    size, picture = (0, 0), None
    for frame in decode_from(path, first):
        while held is not None and (moment := first + len(moments) / rate_hz) < frame.seconds - 1e-6 and moment <= last:
            picture = held.rgb(*size) if picture is None else picture
            moments.append(moment)
            pictures.append(picture)
        if frame.seconds > last:
            return moments, pictures
        size, held, picture = upright_size(frame, short_side), frame, None
    if held is not None and (moment := first + len(moments) / rate_hz) <= held.seconds + 1 / rate_hz:
        moments.append(moment)
        pictures.append(held.rgb(*size))
    return moments, pictures


def transcode(path: Path, first: float, stop: float, last: float, config: PrepareConfig) -> bytes:
    """H.264 of a stretch. Raises MediaError where the segment reaches beyond what can be decoded."""
    moments, pictures = pictures_at(path, first, last, config.frames_hz, config.short_side)
    if not moments or moments[-1] < stop - LATE_SECONDS:
        reached = f"the last frame is at {moments[-1]:.2f} s" if moments else "no frame can be decoded there"
        raise MediaError(f"{path}: segment ends at {stop:.2f} s, but {reached}")
    return film_bytes(pictures, config.frames_hz, config.crf)


def flow_file(path: Path, first: float, last: float, config: PrepareConfig) -> bytes:
    """Flow between pictures a step apart."""
    step = config.flow_step_seconds
    moments, pictures = pictures_at(path, first, last + step, 1 / step, config.flow_short_side)
    every = max(round(1 / (config.flow_hz * step)), 1)
    starts = range(0, len(pictures) - 1, every)
    if not len(starts):
        raise MediaError(f"{path}: no two frames from {first:.2f} s on")
    fields = [compute_flow(pictures[i], pictures[i + 1], config.flow_preset) for i in starts]
    return flow_bytes(fields, [moments[i] - first for i in starts], config.flow_bound_pixels, step)


def refuse_names(segments: list[Segment]) -> None:
    """Raise KarmmaError if two segments of a set have one name: each must be there exactly once."""
    seen: set[str] = set()
    for segment in segments:
        if segment.name in seen:
            raise KarmmaError(f"two segments are called {segment.name!r}; names must differ within a split")
        seen.add(segment.name)
