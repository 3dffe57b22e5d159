"""`karmma bench data`: how fast each stage of loading is, beside the floor that the library under it sets."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.manifest import Segment, Source
from ..data.reading import find_bounds, read_source
from ..media.audio import read_audio
from ..media.containers import MediaError, open_container
from ..media.flow import compute_flow
from ..media.members import TarMember
from ..media.video import decode_from
from ..modalities import Modality
from ..modalities.audio import Audio, log_mel
from ..modalities.base import sample_seconds, window
from ..modalities.flow import Flow
from ..modalities.rgb import Rgb
from ..types import Clip, KarmmaError, collate

FLOOR_READ, FLOOR_DECODE = "floor: plain read of the same bytes", "floor: plain decode of the same frames"


@dataclass
class StageTimes:
    """Seconds and samples by stage."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    samples: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @contextmanager
    def measure(self, stage: str, samples: int = 1) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - started
        self.samples[stage] += samples

    def rates(self) -> dict[str, float]:
        """Samples per second by stage."""
        return {stage: self.samples[stage] / max(seconds, 1e-9) for stage, seconds in self.seconds.items()}


def bench_loading(
    segments: Sequence[Segment], modalities: Mapping[str, Modality], *, count: int = 64, batch_size: int = 16, seed: int = 0,
    on_done: Callable[[int, int], None] | None = None,
) -> StageTimes:  # fmt: skip
    """Samples per second of each stage in this process, on `count` random segments. Raises KarmmaError if none is readable."""
    times, clips = StageTimes(), list[Clip]()
    chosen = np.random.default_rng(seed).permutation(len(segments))[:count]
    for done, index in enumerate(chosen.tolist(), 1):
        segment = segments[index]
        try:
            stored = measure_reading(segment, modalities, times)
        except MediaError:
            continue
        with times.measure("transform: crop, normalise"):
            data = {name: modalities[name].transform(torch.from_numpy(array)[None], None)[0] for name, array in stored.items()}
        clips.append(Clip(data))
        if on_done:
            on_done(done, len(chosen))
    if not clips:
        raise KarmmaError("not one of the segments can be read; look with `karmma check`")
    for first in range(0, len(clips), batch_size):
        batch = clips[first : first + batch_size]
        with times.measure(f"collate: batches of {batch_size}", len(batch)):
            collate(batch, tuple(modalities))
    return times


def measure_reading(segment: Segment, modalities: Mapping[str, Modality], times: StageTimes) -> dict[str, Any]:
    """Each modality as the loader reads it, and what that is made of; returns stored arrays."""
    stored = {}
    start, stop = find_bounds(segment)
    for name, modality in modalities.items():
        source = segment.sources.get(name)
        if source is None:
            continue
        with times.measure(f"{name}: all"):
            array = read_source(modality, source, start, stop)
        if array is not None:
            stored[name] = array
            measure_parts(name, modality, source, (start, stop), times)
    return stored


def measure_parts(name: str, modality: Modality, source: Source, span: tuple[float, float], times: StageTimes) -> None:
    if isinstance(source, TarMember):
        with times.measure(f"{name}: read from the shard"), source.as_file() as path:
            pass
        with source.as_file() as path:
            measure_file(name, modality, path, span, times)
    elif isinstance(source, Path):
        measure_file(name, modality, source, span, times)


def measure_file(name: str, modality: Modality, path: Path, span: tuple[float, float], times: StageTimes) -> None:
    """Stages of a video or sound; tables and arrays are one stage."""
    if isinstance(modality, Rgb):
        measure_video(name, modality, path, span, times)
    elif isinstance(modality, Flow) and path.suffix != ".npz":
        height, width = modality.stored_size
        moments = sample_seconds(*span, 2 * modality.frames)
        frames = [frame.rgb(width, height) for frame in frames_until(path, moments[0], moments[-1] + modality.step_seconds)]
        with times.measure(f"{name}: flow"):
            for index in range(2 * modality.frames):
                compute_flow(frames[index % len(frames)], frames[(index + 1) % len(frames)], modality.preset)
    elif isinstance(modality, Audio):
        first, last = window(*span, modality.seconds + 2 * modality.shift_seconds)
        with times.measure(f"{name}: read, decode, resample"):
            samples = read_audio(path, first, last, modality.sample_rate_hz)
        if samples is not None:
            with times.measure(f"{name}: mel"):
                log_mel(samples, modality.sample_rate_hz, modality.fft_size, modality.hop, modality.bands)


def measure_video(name: str, modality: Rgb, path: Path, span: tuple[float, float], times: StageTimes) -> None:
    height, width = modality.stored_size
    moments = sample_seconds(*span, 2 * modality.frames)
    size = packets_bytes(path, moments[0], moments[-1], times, f"{name}: read (demux)")
    with times.measure(f"{name}: read, decode"):
        frames = list(frames_until(path, moments[0], moments[-1]))
    picked = [frames[min(int(share * len(frames)), len(frames) - 1)] for share in np.linspace(0, 1, len(moments))]
    with times.measure(f"{name}: resize"):
        for frame in picked:
            frame.rgb(width, height)
    with times.measure(FLOOR_READ), path.open("rb") as file:
        file.read(size)
    with times.measure(FLOOR_DECODE):
        plain_decode(path, moments[0], moments[-1])


def frames_until(path: Path, first: float, last: float) -> Iterator[Any]:
    """Frames shown from `first` to `last` seconds, as the reader decodes them."""
    for frame in decode_from(path, first):
        if frame.seconds > last:
            return
        yield frame


def packets_bytes(path: Path, first: float, last: float, times: StageTimes, stage: str) -> int:
    """Demux a stretch without decoding; its size in bytes."""
    size = 0
    with times.measure(stage), open_container(str(path)) as container:
        stream = container.streams.video[0]
        base = float(stream.time_base or 0)
        container.seek(int(first / base), stream=stream, backward=True)
        for packet in container.demux(stream):
            if packet.pts is not None and packet.pts * base > last:
                break
            size += packet.size
    return size


def plain_decode(path: Path, first: float, last: float) -> int:
    """What the decoder alone needs for the same frames: seek, decode in order, nothing else."""
    count = 0
    with open_container(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        base = float(stream.time_base or 0)
        container.seek(int(first / base), stream=stream, backward=True)
        for frame in container.decode(stream):
            count += 1
            if frame.pts is not None and frame.pts * base > last:
                break
    return count
