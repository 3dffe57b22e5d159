"""Optical flow: seconds per pair of frames beside decoding them, and the error against the simulator's true motion.

python benchmarks/flow_methods.py WORK_DIR

A kitchen with true flow is simulated; every method sees the decoded video. Endpoint error is the mean distance in pixels of
a frame; cost is per pair, one thread, beside the seconds that decoding one more frame of the same file takes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from footage import write_footage
from matplotlib.figure import Figure
from numpy.typing import NDArray
from recording import RESULTS, write_result

from karmma.datasets import KitchenConfig, simulate
from karmma.media.flow import PRESETS, compute_flow
from karmma.media.video import Pictures, decode_from

KNOBS = KitchenConfig(
    seed=7, participants={"source": 1, "train": 1, "validation": 1, "test": 2}, recording_seconds=30, width=320, height=240,
    frames_hz=15, write_flow=True,
)  # fmt: skip
Method = Callable[[Pictures, Pictures], NDArray[np.float32]]


def farneback(before: Pictures, after: Pictures) -> NDArray[np.float32]:
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after)]
    return np.asarray(cv2.calcOpticalFlowFarneback(grey[0], grey[1], None, 0.5, 3, 15, 3, 5, 1.2, 0), np.float32)  # type: ignore[call-overload]


def zero(before: Pictures, after: Pictures) -> NDArray[np.float32]:
    return np.zeros((*before.shape[:2], 2), np.float32)


METHODS: dict[str, Method] = {
    "no motion": zero,
    **{f"DIS {preset}": partial(compute_flow, preset=preset) for preset in PRESETS},
    "Farnebäck": farneback,
}
SHORT_SIDES = (60, 112, 240)
PAIRS = 120


def pairs_of(root: Path) -> list[tuple[Path, NDArray[np.float32]]]:
    """Videos of the test split with their true flow `(T, H, W, 2)`."""
    found = []
    for truth in sorted((root / "truth").glob("*/*.npz")):
        video = root / "videos" / truth.parent.name / f"{truth.stem}.MP4"
        with np.load(truth) as archive:
            found.append((video, archive["flow_pixels"].astype(np.float32)))
    return found


def frames_of(video: Path) -> list[Pictures]:
    return [frame.rgb(KNOBS.width, KNOBS.height) for frame in decode_from(video, 0.0)]


def endpoint_error(flow: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    height, width = truth.shape[:2]
    scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    whole = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * scale
    return float(np.linalg.norm(whole - truth, axis=-1).mean())


def measure(videos: list[tuple[Path, NDArray[np.float32]]]) -> dict[str, Any]:
    """Error and cost of every method at every size."""
    random, rows = np.random.default_rng(0), []
    for video, truth in videos:
        frames = frames_of(video)
        usable = min(len(frames), len(truth)) - 1
        chosen = random.permutation(usable)[: PAIRS // len(videos)]
        rows += [(frames[i], frames[i + 1], truth[i]) for i in chosen]
    result: dict[str, Any] = {}
    for short in SHORT_SIDES:
        size = (short * KNOBS.width // KNOBS.height, short)
        small = [tuple(cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in row[:2]) for row in rows]
        for name, method in METHODS.items():
            method(*small[0])
            started = time.perf_counter()
            flows = [method(a, b) for a, b in small]
            seconds = (time.perf_counter() - started) / len(small)
            errors = [endpoint_error(flow, truth) for flow, (_, _, truth) in zip(flows, rows, strict=True)]
            result[f"{name}, {short}"] = {
                "endpoint_error_pixels": round(float(np.mean(errors)), 3), "median": round(float(np.median(errors)), 3),
                "ms_per_pair": round(1000 * seconds, 3),
            }
    return result


def decoding_ms(video: Path, count: int = 300) -> float:
    """Milliseconds per frame of decoding alone."""
    times = []
    for _ in range(3):
        started, done = time.perf_counter(), 0
        for done, _frame in enumerate(decode_from(video, 0.0), 1):
            if done == count:
                break
        times.append((time.perf_counter() - started) / done)
    return 1000 * min(times)


def draw(result: dict[str, Any], path: Path) -> None:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name in [name for name in METHODS if name != "no motion"]:
        rows = [result[f"{name}, {short}"] for short in SHORT_SIDES]
        line = axes.plot([row["ms_per_pair"] for row in rows], [row["endpoint_error_pixels"] for row in rows], "o-", label=name)
        for row, short in zip(rows, SHORT_SIDES, strict=True):
            axes.annotate(str(short), (row["ms_per_pair"], row["endpoint_error_pixels"]), xytext=(4, 4),
                          textcoords="offset points", fontsize=8, color=line[0].get_color())  # fmt: skip
    axes.axhline(result[f"no motion, {SHORT_SIDES[-1]}"]["endpoint_error_pixels"], color="#9ca3af", linestyle="--", label="no motion")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("milliseconds per pair of frames, one thread")
    axes.set_ylabel("mean endpoint error, pixels of 320 × 240")
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e7eb")
    figure.savefig(path, dpi=130)


def main() -> None:
    work = Path(sys.argv[1])
    cv2.setNumThreads(1)
    root = work / "kitchen_true_flow"
    if not (root / "annotations").is_dir():
        simulate(root, KNOBS)
    videos = pairs_of(root)
    result = measure(videos)
    footage = write_footage(work / "456x256.mp4", 456, 256, 10)
    decoding = {"320x240": decoding_ms(videos[0][0]), "456x256": decoding_ms(footage)}
    write_result("flow_methods", {
        "pairs": PAIRS, "resolution": "320x240 at 15 Hz", "decoding_ms_per_frame": {k: round(v, 3) for k, v in decoding.items()},
        "methods_by_short_side": result,
    })  # fmt: skip
    draw(result, RESULTS / "flow_methods.png")


if __name__ == "__main__":
    main()
