"""Draw a contact sheet of the simulated kitchen: frames, true flow, true depth, sound of a few actions.

python scripts/draw_kitchen.py docs/images/kitchen.png
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from karmma.config import load_recipe
from karmma.datasets import KitchenConfig
from karmma.datasets.kitchen.generate import random_for
from karmma.datasets.kitchen.head import make_head
from karmma.datasets.kitchen.motion import depth_and_flow
from karmma.datasets.kitchen.renderer import Renderer
from karmma.datasets.kitchen.scene import furnish
from karmma.datasets.kitchen.screenplay import play
from karmma.datasets.kitchen.sound import synthesise
from karmma.modalities.audio import log_mel
from karmma.trees import build

matplotlib.use("Agg")
RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "demo.yaml"
VERBS = ("take", "open", "wash", "cut", "stir", "pour")


def colour_flow(flow: np.ndarray) -> np.ndarray:
    """Direction as hue, speed as brightness."""
    speed, angle = cv2.cartToPolar(flow[..., 0], flow[..., 1])
    hsv = np.stack([angle * 90 / np.pi, np.full_like(speed, 200), np.clip(speed * 40, 0, 255)], -1).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def find_actions(config: KitchenConfig) -> dict[str, tuple[str, float, float]]:
    """For every verb a participant and the seconds of an action."""
    found: dict[str, tuple[str, float, float]] = {}
    for number in range(1, 40):
        name = f"P{number:02d}"
        _, labelled = play(furnish(random_for(config, name), config), "train", config, random_for(config, f"{name}_01"))
        for row in labelled:
            if row.pair.verb in VERBS and row.pair.verb not in found and name not in {entry[0] for entry in found.values()}:
                found[row.pair.verb] = (name, row.start_seconds, row.stop_seconds)
    return found


def main(path: Path) -> None:
    config = replace(build(KitchenConfig, load_recipe(RECIPE).data.settings, "demo"), width=240, height=180)
    actions = find_actions(config)
    figure = Figure(figsize=(13, 1.62 * len(actions)), dpi=110, layout="constrained")
    grid = figure.subplots(len(actions), 7, squeeze=False, gridspec_kw={"width_ratios": [1] * 6 + [1.25]})
    for row, verb in enumerate(verb for verb in VERBS if verb in actions):
        name, start, stop = actions[verb]
        kitchen, random = furnish(random_for(config, name), config), random_for(config, f"{name}_01")
        stage, labelled = play(kitchen, "train", config, random)
        pair = next(entry.pair for entry in labelled if entry.start_seconds == start)
        head = make_head(stage, config, random)
        renderer = Renderer(kitchen.parts, kitchen.light, config, random)
        seconds = start + np.arange(int((stop - start) * config.frames_hz) + 2) / config.frames_hz
        frames = list(renderer.film(head, seconds))
        for column, share in enumerate((0.08, 0.36, 0.64, 0.92)):
            grid[row, column].imshow(frames[int(share * (len(frames) - 1))].rgb)
        middle = frames[int(0.36 * (len(frames) - 1))]
        depth, flow = depth_and_flow(middle.faces, middle.geometry, renderer.rays)
        grid[row, 4].imshow(colour_flow(flow))
        grid[row, 5].imshow(depth, cmap="viridis", vmin=0.3, vmax=1.4)
        sound = synthesise(stage.sounds, config, random, kitchen.habits.pitch)
        piece = sound[int(start * config.audio_hz) : int(stop * config.audio_hz)].astype(np.float32)
        grid[row, 6].imshow(
            log_mel(piece, config.audio_hz, 512, 128, 64), origin="lower", aspect="auto", cmap="magma"
        )
        grid[row, 0].set_ylabel(f"{pair.verb} {pair.noun}", fontsize=10)
        for axes in grid[row]:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
    for column, title in ((0, "rgb"), (4, "true flow"), (5, "true depth"), (6, "sound, log-mel")):
        grid[0, column].set_title(title, fontsize=10, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
