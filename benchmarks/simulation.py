"""Recorded seconds per second and core of the kitchen at the demo's resolution, by stage.

python benchmarks/simulation.py
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from recording import write_result

from karmma.config import load_recipe
from karmma.datasets import KitchenConfig, simulate
from karmma.datasets.kitchen.generate import random_for
from karmma.datasets.kitchen.head import make_head
from karmma.datasets.kitchen.renderer import Renderer
from karmma.datasets.kitchen.scene import furnish
from karmma.datasets.kitchen.screenplay import play
from karmma.datasets.kitchen.sound import synthesise
from karmma.media.write import VideoWriter
from karmma.trees import build

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "demo.yaml"
RECORDINGS = 4


def whole(config: KitchenConfig, workers: int) -> float:
    """Recorded seconds per second and core, everything written to disk; processes are started beforehand or not at all."""
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        simulate(Path(directory), config, workers=workers)
        return RECORDINGS * config.recording_seconds / (time.perf_counter() - began) / workers


def stages(config: KitchenConfig) -> dict[str, float]:
    """Seconds of rendering, encoding and sound for one recording."""
    random = random_for(config, "benchmark")
    kitchen = furnish(random, config)
    stage, _ = play(kitchen, "train", config, random)
    head = make_head(stage, config, random)
    moments = np.arange(int(config.recording_seconds * config.frames_hz) + 1) / config.frames_hz
    began = time.perf_counter()
    frames = [frame.rgb for frame in Renderer(kitchen.parts, kitchen.light, config, random).film(head, moments)]
    rendered = time.perf_counter()
    sound = synthesise(stage.sounds, config, random, 1.0)
    heard = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as directory,
        VideoWriter(Path(directory) / "a.mp4", config.width, config.height, config.frames_hz, config.audio_hz) as writer,
    ):
        for frame in frames:
            writer.write_frame(frame)
        writer.write_audio(sound)
    return {"render": rendered - began, "sound": heard - rendered, "encode": time.perf_counter() - heard}


def main() -> None:
    cv2.setNumThreads(1)
    settings = load_recipe(RECIPE).data.settings
    config = replace(build(KitchenConfig, settings, "demo"), participants={"train": RECORDINGS})
    write_result(
        "simulation",
        {
            "resolution": f"{config.width}x{config.height} at {config.frames_hz:g} Hz",
            "recorded_seconds_per_second_per_core": {str(workers): round(whole(config, workers), 1) for workers in (1, 2)},
            "seconds_of_one_recording": {name: round(value, 2) for name, value in stages(config).items()},
            "recording_seconds": config.recording_seconds,
        },
    )


if __name__ == "__main__":
    main()
