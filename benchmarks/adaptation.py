"""What test-time adaptation (MiDl) brings to a run's methods under protocol P3: as they are, and while they go on learning.

python benchmarks/adaptation.py RUN [--methods baseline,baseline_dropout,karmma] [--lrs 6.25e-5] [--name adaptation]

RUN is a finished run with its data. A quarter, a half or three quarters of the test clips lose one sensor; for each such stream
every seed's checkpoint answers alone and adapting. Action top-1, means over sensors and shares, intervals of karmma.evaluation.paired.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recording import write_result

from karmma.data.missing import ObservationLevel
from karmma.evaluation.adaptation import Midl
from karmma.evaluation.evaluate import SubsetLogits
from karmma.evaluation.metrics import correctness
from karmma.evaluation.paired import Outcomes, compare, group_samples
from karmma.experiment.evaluation import open_split, presence_under, stream_logits
from karmma.files import read_json

SHARES = (0.25, 0.5, 0.75)
METRIC = "action_top1"


@dataclass(frozen=True)
class Stream:
    """One sensor that fails for one checkpoint; `lrs`: with which it goes on learning."""

    run: Path
    split: str
    method: str
    seed: int
    missing: str
    lrs: tuple[float, ...]


Hits = dict[float | None, dict[str, NDArray[np.float64]]]  # by learning rate (None: it does not learn), then by share


def hits_of(stream: Stream) -> Hits:
    """Whether each clip is recognised, `(samples,)`."""
    torch.set_num_threads(1)
    directory = stream.run / f"seed{stream.seed}" / stream.method
    opened = open_split(directory, stream.run / "data", None, stream.split, {}, labelled=True)
    logits, hits = SubsetLogits.load(directory / "logits.safetensors"), Hits()
    with opened.stored(stream.run / "clips") as store:
        for share in SHARES:
            presence = presence_under(ObservationLevel((stream.missing,), share), logits)
            said = {None: logits.logits_under(presence)} | {
                lr: stream_logits(opened.model, store, presence, Midl(lr)) for lr in stream.lrs
            }
            for lr, values in said.items():
                hits.setdefault(lr, {})[f"{stream.missing} {share}"] = correctness(values, logits.labels)[METRIC].double().numpy()
    return hits


def outcomes(parts: list[list[Hits]], lr: float | None, groups: NDArray[np.int64]) -> Outcomes:
    """Of a method, from what its seeds did (outer) with each sensor that fails (inner)."""
    seeds = [{name: values for part in seed for name, values in part[lr].items()} for seed in parts]
    stacked = {name: np.stack([seed[name] for seed in seeds]) for name in seeds[0]}
    return Outcomes(stacked, groups, np.zeros(len(groups), np.int64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--methods", default="baseline,baseline_dropout,karmma")
    parser.add_argument("--lrs", default=str(Midl().lr))
    parser.add_argument("--name", default="adaptation")
    given = parser.parse_args()
    recipe, methods = read_json(given.run / "recipe.json"), given.methods.split(",")
    lrs, seeds, sensors = tuple(map(float, given.lrs.split(","))), recipe["seeds"], list(recipe["modalities"])
    split, pairs = recipe["evaluation"]["split"], product(methods, seeds, sensors)
    streams = [Stream(given.run, split, method, seed, name, lrs) for method, seed, name in pairs]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        done = dict(zip(streams, pool.map(hits_of, streams), strict=True))
    first = SubsetLogits.load(given.run / f"seed{seeds[0]}" / methods[0] / "logits.safetensors")
    groups = group_samples(first.participants, {head: values.tolist() for head, values in first.labels.items()})
    figures: dict[str, dict[str, Any]] = {}
    for method in methods:
        parts = [[hits for stream, hits in done.items() if (stream.method, stream.seed) == (method, seed)] for seed in seeds]
        base, adapted = outcomes(parts, None, groups), {lr: outcomes(parts, lr, groups) for lr in lrs}
        figures[method] = {"alone": base.top1(), "mean": float(np.mean(list(base.top1().values())))}
        for lr, values in adapted.items():
            figures[method][f"lr {lr:g}"] = {"adapting": values.top1(), **vars(compare(values, base))}
    write_result(given.name, {"recipe": recipe["name"], "seeds": seeds, "samples": len(groups), "shares": SHARES, "methods": figures})


if __name__ == "__main__":
    main()
