"""Predictions over a recording as pictures: a timeline plot, and the recording with the answers written on it."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..files import replacing
from ..media.audio import read_audio
from ..media.probe import probe
from ..media.video import decode_from
from ..media.write import VideoWriter
from ..types import Prediction

PALETTE = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#dc2626", "#4b5563", "#b45309")
SOUND_HZ, LONGEST_SIDE = 44100, 1280
LEAST_SIDE = 480  # smaller pictures are enlarged, or nobody could read what is written on them
LARGEST_STRIP = 0.45  # of a picture's height
UPRIGHT_LETTERS = 15  # of small ones, one on another, in a row's height
PRESENT, ABSENT = "#10b981", "#e5e7eb"


def runs_of(predictions: Sequence[Prediction], head: str) -> list[tuple[float, float, str, float]]:
    """Stretches with the same top class: start, stop, name, mean probability. Overlapping windows meet half-way."""
    edges = [(p.start_seconds + p.stop_seconds) / 2 for p in predictions]
    runs: list[tuple[float, float, str, float]] = []
    for index, prediction in enumerate(predictions):
        start = prediction.start_seconds if index == 0 else (edges[index - 1] + edges[index]) / 2
        stop = prediction.stop_seconds if index == len(predictions) - 1 else (edges[index] + edges[index + 1]) / 2
        best = prediction.top(head)
        if runs and runs[-1][2] == best.name:
            first, _, name, share = runs.pop()
            weight = (start - first) / max(stop - first, 1e-9)
            runs.append((first, stop, name, share * weight + best.probability * (1 - weight)))
        else:
            runs.append((start, stop, best.name, best.probability))
    return runs


def draw_timeline(predictions: Sequence[Prediction], modalities: Sequence[str], path: Path, title: str = "") -> None:
    """A row per label set with the class that leads when, and a thin row per modality that shows when it was there."""
    from matplotlib.figure import Figure

    heads = list(predictions[0].ranked)
    length = predictions[-1].stop_seconds - predictions[0].start_seconds
    width = float(np.clip(4 + length * 0.35, 8, 28))
    ratios = [1.0] * len(heads) + [0.28] * len(modalities)
    figure = Figure(figsize=(width, 0.85 * len(heads) + 0.32 * len(modalities) + 0.9), layout="constrained")
    rows = figure.subplots(len(ratios), 1, sharex=True, gridspec_kw={"height_ratios": ratios}, squeeze=False)[:, 0]
    for axes, head in zip(rows, heads, strict=False):
        names = list(dict.fromkeys(name for _, _, name, _ in runs_of(predictions, head)))
        for start, stop, name, share in runs_of(predictions, head):
            color = PALETTE[names.index(name) % len(PALETTE)]
            axes.axvspan(start, stop, color=color, alpha=0.15 + 0.55 * share, linewidth=0)
            text, options = fitted(name, (stop - start) / max(length, 1e-9) * width * 72)
            axes.text((start + stop) / 2, 0.5, text, ha="center", va="center", color="#111827", **options)
        axes.set_ylabel(head, rotation=0, ha="right", va="center")
    for axes, name in zip(rows[len(heads) :], modalities, strict=True):
        for prediction in predictions:
            color = PRESENT if name in prediction.modalities else ABSENT
            axes.axvspan(prediction.start_seconds, prediction.stop_seconds, color=color, linewidth=0)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    for axes in rows:
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_xlim(predictions[0].start_seconds, predictions[-1].stop_seconds)
    rows[-1].set_xlabel("seconds")
    rows[0].set_title(title, loc="left", fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def fitted(name: str, room_points: float) -> tuple[str, dict[str, Any]]:
    """A class's name in up to three lines where there is room, else upright and cut short, else nothing; and how to write it."""
    lines = textwrap.wrap(name, max(int(room_points / 5.5), 1), break_long_words=False)
    if len(lines) <= 3 and max(map(len, lines), default=0) * 5.5 <= room_points:
        return "\n".join(lines), {"fontsize": 9}
    if room_points <= 9:
        return "", {}
    return name if len(name) <= UPRIGHT_LETTERS else f"{name[: UPRIGHT_LETTERS - 1]}…", {"fontsize": 7, "rotation": 90}


def write_overlay(file: Path, predictions: Sequence[Prediction], path: Path) -> None:
    """The recording with, at every moment, the answers of the window around it; sound kept. Raises MediaError."""
    sound = read_audio(file, 0.0, probe(file).duration_seconds, SOUND_HZ)
    width, height, rate_hz = picture_format(file)
    with VideoWriter(path, width, height, rate_hz, None if sound is None else SOUND_HZ) as writer:
        for frame in decode_from(file, 0.0):
            while writer.frames_written < round(frame.seconds * rate_hz) + 1:
                writer.write_frame(annotated(frame.rgb(width, height), nearest(predictions, frame.seconds)))
        if sound is not None:
            writer.write_audio(sound)


def picture_format(file: Path) -> tuple[int, int, float]:
    """Even width and height, upright, and frames per second of the first hundred frames."""
    frames = list(itertools.islice(decode_from(file, 0.0), 100))
    first, turned = frames[0].frame, round(frames[0].frame.rotation / 90) % 2
    scale = min(max(LEAST_SIDE / max(first.width, first.height), 1.0), LONGEST_SIDE / max(first.width, first.height))
    sides = (first.height, first.width) if turned else (first.width, first.height)
    width, height = (max(2 * round(side * scale / 2), 2) for side in sides)
    spans = [after.seconds - before.seconds for before, after in itertools.pairwise(frames)]
    return width, height, round(1 / float(np.median(spans)), 3) if spans else 25.0


def nearest(predictions: Sequence[Prediction], seconds: float) -> Prediction:
    return min(predictions, key=lambda p: abs((p.start_seconds + p.stop_seconds) / 2 - seconds))


def annotated(picture: NDArray[np.uint8], prediction: Prediction) -> NDArray[np.uint8]:
    """The picture with a dark strip below it: best classes with their shares, and what was used."""
    height, width = picture.shape[:2]
    scale = max(width / 900, 0.35)
    head = "action" if "action" in prediction.ranked else next(iter(prediction.ranked))
    lines = [f"{entry.name}  {100 * entry.probability:.0f} %" for entry in prediction.ranked[head][:3]]
    lines.append("from " + " + ".join(prediction.modalities))
    line_height = int(30 * scale) + 4
    lines = lines[: max(int((LARGEST_STRIP * height - 8) / line_height), 1)]
    top = max(height - line_height * len(lines) - 8, 0)
    result = picture.copy()
    result[top:] = result[top:] // 4
    for row, text in enumerate(lines):
        color = (255, 255, 255) if row == 0 else (190, 190, 190)
        place = (int(12 * scale), top + (row + 1) * line_height - 4)
        cv2.putText(result, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.75 * scale, color, 1 + (row == 0), cv2.LINE_AA)
    return result
