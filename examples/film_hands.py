"""Hands out of any film: MediaPipe's hand tracker as the modality `hands`, for who has a head camera and no headset.

    python3.11 -m venv tracker && tracker/bin/pip install mediapipe==0.10.21     # an environment of its own: it wants numpy 1
    tracker/bin/python examples/film_hands.py films/*.mp4 --out hands             # hands/NAME.npz, for karmma predict --hands
    tracker/bin/python examples/film_hands.py rtsp://headset/video --lines | karmma stream STUDENT video=rtsp://headset/video hands=-

The layout is `mediapipe`. Places are in picture widths from the middle of the picture, y down, z as MediaPipe guesses it from the
wrist. Its sides are those of a mirrored picture, as of a selfie; here they are exchanged, unless `--mirrored` says that yours is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import mediapipe
import numpy as np
from numpy.typing import NDArray

SIDES, JOINTS = ("Left", "Right"), 21
Moment = tuple[float, NDArray[np.float32]]  # seconds, both hands (2, 21, 3), left first


def track(film: str, mirrored: bool, confidence: float) -> Iterator[Moment]:
    """Both hands at every picture of a film or camera; nan for one that is not seen. Raises SystemExit for what cannot be opened."""
    capture = cv2.VideoCapture(film)
    if not capture.isOpened():
        raise SystemExit(f"{film}: cannot be opened")
    with mediapipe.solutions.hands.Hands(max_num_hands=2, min_detection_confidence=confidence) as tracker:
        while True:
            there, picture = capture.read()
            if not there:
                return
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield seconds, hands_of(tracker.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)), picture.shape, mirrored)


def hands_of(result: Any, shape: tuple[int, ...], mirrored: bool) -> NDArray[np.float32]:
    """What the tracker says of one picture. Of two hands of one side the one it is surer of counts."""
    hands = np.full((len(SIDES), JOINTS, 3), np.nan, np.float32)
    found = zip(result.multi_handedness or (), result.multi_hand_landmarks or (), strict=True)
    for side, hand in sorted(found, key=lambda pair: float(pair[0].classification[0].score)):
        place = SIDES.index(side.classification[0].label)
        places = np.array([(joint.x, joint.y, joint.z) for joint in hand.landmark])
        aspect = shape[0] / shape[1]
        hands[place if mirrored else 1 - place] = (places - (0.5, 0.5, 0)) * (1, aspect, 1)
    return hands


def write_file(film: str, moments: Iterator[Moment], out: Path) -> None:
    seconds, hands = zip(*moments, strict=True)
    out.mkdir(parents=True, exist_ok=True)
    kept = np.concatenate([[True], np.diff(np.maximum.accumulate(seconds)) > 0])  # some containers' clocks stand still
    both = np.stack(hands)[kept]
    np.savez_compressed(out / f"{Path(film).stem}.npz", seconds=np.array(seconds)[kept], hands=both)
    left, right = 100 * np.isfinite(both[:, :, 0, 0]).mean(0)
    print(f"{film}: {len(both)} pictures, left hand in {left:.0f} %, right in {right:.0f} %")


def print_lines(moments: Iterator[Moment]) -> None:
    for seconds, hands in moments:
        cells = ("" if np.isnan(number) else f"{number:.5f}" for number in hands.ravel())
        print(f"{seconds:.4f},{','.join(cells)}", flush=True)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("films", nargs="+", help="films, or with --lines one film, device or address")
    parser.add_argument("--out", type=Path, default=Path("hands"), help="directory for one .npz per film")
    parser.add_argument("--lines", action="store_true", help="lines on standard output, for karmma stream hands=-")
    parser.add_argument("--mirrored", action="store_true", help="the pictures are mirrored, as of a selfie")
    parser.add_argument("--confidence", type=float, default=0.3, help="from which on a hand counts as found")
    options = parser.parse_args(arguments)
    for film in options.films:
        moments = track(film, options.mirrored, options.confidence)
        if options.lines:
            print_lines(moments)
        else:
            write_file(film, moments, options.out)


if __name__ == "__main__":
    main(sys.argv[1:])
