"""Training clips from shards, from the originals they were made of, and the bare tar read + decode of the same shards.

python benchmarks/shard_reading.py WORK_DIR

Segments of two seconds at random places of ten-minute files (1920×1080 and 456×256, a key frame every 250 frames), sixteen
frames at 224 pixels short side and a log-mel picture of the sound; two workers, random order, median of three rounds.
"""

from __future__ import annotations

import io
import shutil
import statistics
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from footage import write_footage
from recording import write_result

from karmma.data.manifest import Manifest, Segment
from karmma.data.reading import read_segment
from karmma.datasets.prepared import PreparedConfig, load_prepared
from karmma.modalities import make_modalities
from karmma.preparation.prepare import prepare
from karmma.preparation.segments import PrepareConfig
from karmma.types import LabelSpace
from karmma.workers import worker_pool

COUNT, SECONDS, ROUNDS = 64, 2.0, 3
MODALITIES = make_modalities({"rgb": {"frames": 8, "height": 224, "width": 400, "margin": 0.0}, "audio": {}})
CONFIG = PrepareConfig(short_side=224, frames_hz=30, flow_hz=0, margin_seconds=0.5)


def originals(path: Path) -> Manifest:
    starts = np.random.default_rng(1).uniform(1, 590, COUNT)
    segments = tuple(
        Segment(f"{path.stem}_{number}", "P01", float(start), float(start) + SECONDS, {"action": 0}, {"rgb": path, "audio": path})
        for number, start in enumerate(starts)
    )
    return Manifest("footage", LabelSpace({"action": ("something",)}), {"train": segments})


def read_clip(segment: Segment) -> int:
    reading = read_segment(segment, MODALITIES)
    assert not reading.failures
    return len(reading.arrays)


def read_tar_bare(path: Path) -> int:
    """Every member of a tar read in order, video and sound decoded, nothing done with them."""
    count = 0
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            if not member.name.endswith((".mp4", ".flac")):
                continue
            with av.open(io.BytesIO(content.read()), "r") as container:
                for stream in (*container.streams.video, *container.streams.audio):
                    stream.codec_context.thread_count = 1
                for _ in container.decode(container.streams[0]):
                    count += 1
    return count


def seconds_of(pool: Any, work: Callable[[Any], int], pieces: list[Any]) -> float:
    started = time.perf_counter()
    list(pool.map(work, pieces))
    return time.perf_counter() - started


def main() -> None:
    work, result = Path(sys.argv[1]), dict[str, Any]()
    order = np.random.default_rng(2).permutation(COUNT).tolist()
    with worker_pool(2) as pool:
        for width, height in ((456, 256), (1920, 1080)):
            source = originals(write_footage(work / f"{width}x{height}.mp4", width, height, 10))
            out = work / f"shards_{height}"
            shutil.rmtree(out, ignore_errors=True)
            prepare(source, str(out), CONFIG, workers=2)
            shards = load_prepared(out, PreparedConfig())
            tars = sorted((out / "shards").glob("*.tar"))
            ways: dict[str, tuple[Callable[[Any], int], list[Any]]] = {
                "originals": (read_clip, [source.splits["train"][i] for i in order]),
                "shards": (read_clip, [shards.splits["train"][i] for i in order]),
                "bare tar read and decode": (read_tar_bare, tars),
            }
            seconds_of(pool, *ways["shards"])
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, (function, pieces) in ways.items():
                    times[name].append(seconds_of(pool, function, pieces))
            rates = {name: COUNT / statistics.median(values) for name, values in times.items()}
            result[f"{width}x{height}"] = {
                "samples_per_second": {name: round(rate, 1) for name, rate in rates.items()},
                "shards_over_originals": round(rates["shards"] / rates["originals"], 2),
                "shards_over_bare_tar": round(rates["shards"] / rates["bare tar read and decode"], 3),
                "bytes_per_clip": round(sum(path.stat().st_size for path in tars) / COUNT),
            }
    write_result("shard_reading", {"clips": COUNT, "workers": 2, **result})


if __name__ == "__main__":
    main()
