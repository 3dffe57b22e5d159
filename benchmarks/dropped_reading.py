"""What modality dropout saves when training clips are decoded as they are needed: batches per second with δ and without.

python benchmarks/dropped_reading.py WORK_DIR

Segments of two seconds of a ten-minute file (456×256), sixteen frames at 224 pixels short side and a log-mel picture of the
sound; batches of eight, augmented, decoded in this process by one thread, median of three epochs. The share of clips that δ
leaves of each modality stands beside the rates.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from footage import write_footage
from recording import write_result
from shard_reading import MODALITIES, originals

from karmma.data.loading import EpochLoader
from karmma.data.missing import IndependentDropout
from karmma.data.streaming import StreamStore
from karmma.workers import use_one_thread

ROUNDS, BATCH = 3, 8
RATES = (0.0, 0.3, 0.5)


def epoch(store: StreamStore, number: int, rate: float) -> tuple[float, dict[str, float]]:
    """Samples per second of one epoch, and the share of samples that had each modality."""
    began = time.perf_counter()
    loader = EpochLoader(store, BATCH, 0, number, augment=True, scenario=IndependentDropout(rate))
    kept = [batch.present for batch in loader]
    seconds = time.perf_counter() - began
    shares = {name: float(sum(present[name].float().mean() for present in kept) / len(kept)) for name in store.names}
    return len(kept) * BATCH / seconds, shares


def main() -> None:
    use_one_thread()
    work = Path(sys.argv[1])
    manifest = originals(write_footage(work / "456x256.mp4", 456, 256, 10))
    store = StreamStore(work / "clips", manifest.split("train"), MODALITIES)
    store.write()
    result: dict[str, Any] = {}
    for rate in RATES:
        rounds = [epoch(store, number, rate) for number in range(ROUNDS)]
        result[f"p = {rate}"] = {
            "samples_per_second": round(statistics.median(speed for speed, _ in rounds), 1),
            "kept": {name: round(statistics.mean(shares[name] for _, shares in rounds), 2) for name in store.names},
        }
    write_result("dropped_reading", {"clips": len(store), "batch": BATCH, "rates": result})


if __name__ == "__main__":
    main()
