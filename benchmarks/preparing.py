"""`karmma prepare`: one worker against two, and segments per second and memory against the size of the set.

python benchmarks/preparing.py WORK_DIR

The larger sets repeat the kitchen's segments under other names: the work per segment is real, the files are shared.
"""

from __future__ import annotations

import itertools
import resource
import shutil
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from recording import write_result

from karmma.data.manifest import Manifest, Segment
from karmma.datasets import KitchenConfig, simulate
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.preparation.prepare import prepare
from karmma.preparation.segments import PrepareConfig

KNOBS = KitchenConfig(seed=5, participants={"source": 2, "train": 4, "validation": 1, "test": 1}, recording_seconds=60)
CONFIG = PrepareConfig(short_side=128, frames_hz=15, flow_short_side=64, flow_hz=7.5)
SIZES = (100, 1000, 10000)


def repeated(manifest: Manifest, count: int) -> Manifest:
    """`count` segments of the train split."""
    def variant(number: int, segment: Segment) -> Segment:
        return replace(segment, name=f"{segment.name}_{number}")

    cycle = itertools.cycle(manifest.splits["train"])
    return replace(manifest, splits={"train": tuple(variant(i, segment) for i, segment in zip(range(count), cycle, strict=False))})


class MemoryWatch:
    """The largest resident memory of this process and its children together while the body runs, megabytes."""

    def __enter__(self) -> MemoryWatch:
        self.peak, self.stop = 0.0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def watch(self) -> None:
        while not self.stop.wait(0.2):
            self.peak = max(self.peak, family_megabytes())

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()


def family_megabytes() -> float:
    """Resident memory of this process and all that it started."""
    parents, sizes = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)], sizes[int(folder.name)] = int(fields[1]), int(fields[21])
    import os

    family, grown = {os.getpid()}, True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in family} - family
        grown = bool(children)
        family |= children
    return sum(sizes.get(pid, 0) for pid in family) * resource.getpagesize() / 1e6


def timed(manifest: Manifest, out: Path, workers: int) -> dict[str, Any]:
    shutil.rmtree(out, ignore_errors=True)
    with MemoryWatch() as memory:
        started = time.perf_counter()
        prepared = prepare(manifest, str(out), CONFIG, workers=workers)
        seconds = time.perf_counter() - started
    assert not prepared.failures
    shutil.rmtree(out)
    return {
        "segments": prepared.segments, "seconds": round(seconds, 1), "segments_per_second": round(prepared.segments / seconds, 1),
        "peak_megabytes": round(memory.peak),
    }  # fmt: skip


def main() -> None:
    work = Path(sys.argv[1])
    root = work / "kitchen_prepare"
    if not (root / "annotations").is_dir():
        simulate(root, KNOBS)
    manifest = load_kitchen(root)
    whole = repeated(manifest, 400)
    workers = {str(count): timed(whole, work / "prepared", count) for count in (1, 2, 1, 2)}
    speedup = workers["1"]["seconds"] / workers["2"]["seconds"]
    sizes = {str(size): timed(repeated(manifest, size), work / "prepared", 2) for size in SIZES}
    write_result("preparing", {"workers": workers, "speedup_2_workers": round(speedup, 2), "by_size": sizes})


if __name__ == "__main__":
    main()
