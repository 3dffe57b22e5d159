"""Extractors that take turns on a stream: what it saves per window and what it costs in accuracy.

python benchmarks/token_hops.py RUN [--split test] [--data KITCHEN] [--name token_hops]

RUN is what `karmma run` has made of a kitchen recipe. The split's recordings are streamed at two windows a second, once
without and once with faults (the same as in streaming.py), with tokens of every window's own and with longer token hops.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recording import write_result
from streaming import HOP, Recorded, label_at, recordings_of, with_faults

from karmma.deploy.faults import Fault, FaultySensor
from karmma.deploy.predict import Recognizer
from karmma.deploy.recognition import Recognition
from karmma.deploy.session import StreamConfig, StreamSession
from karmma.deploy.stream import simulate_stream

TOKEN_HOPS = (None, 1.0, 1.5, 2.0)


def stream_recording(
    recognition: Recognition, recording: Recorded, faults: list[Fault], config: StreamConfig
) -> tuple[int, int, list[float]]:
    """Right windows, labelled windows, and milliseconds from asking for a window to its answer (decoding is done by then)."""
    session, right, total, times = StreamSession(recognition, config), 0, 0, []
    sensors = [FaultySensor(sensor, faults) for sensor in recording.sensors(session.sensors)]
    names = recognition.labels.names
    for due, _ in simulate_stream(session, sensors, recording.seconds):
        labels = label_at(recording, due - config.window_seconds / 2)
        started = time.perf_counter()
        prediction = session.answer(due).prediction
        if due < config.window_seconds:
            continue
        times.append(1000 * (time.perf_counter() - started))
        if labels is not None:
            truth = [names[head][labels[head]] for head in ("verb", "noun")]
            total += 1
            right += prediction is not None and [prediction.top(head).name for head in ("verb", "noun")] == truth
    return right, total, times


def measure(recognition: Recognition, recordings: Sequence[Recorded], config: StreamConfig, faulty: bool) -> dict[str, Any]:
    """Figures over all recordings."""
    figures = [
        stream_recording(recognition, recording, faults if faulty else [], config)
        for recording, faults in with_faults(recordings, recognition)
    ]
    right, total, times = (list(column) for column in zip(*figures, strict=True))
    spent = [value for row in times for value in row]
    return {
        "action_top1": round(100 * sum(right) / sum(total), 2), "windows": sum(total),
        "ms_per_window": round(float(np.mean(spent)), 2),
        "ms_p99": round(float(np.percentile(spent, 99)), 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--data", type=Path, help="the kitchen, if it does not lie in RUN/data")
    parser.add_argument("--name", default="token_hops")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recognition = Recognizer.load(options.run / "seed0" / "karmma")
    recordings = recordings_of(options.data or options.run / "data", options.split)
    result: dict[str, Any] = {"run": options.run.name, "split": options.split, "hop_seconds": HOP, "threads": 1}
    for token_hop in TOKEN_HOPS:
        config = replace(StreamConfig(hop_seconds=HOP), token_hop_seconds=token_hop)
        row = {way: measure(recognition, recordings, config, way == "faults") for way in ("healthy", "faults")}
        result["every window" if token_hop is None else f"{token_hop:g} s"] = row
        print(token_hop, row, flush=True)
    write_result(options.name, result)


if __name__ == "__main__":
    main()
