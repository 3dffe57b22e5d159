"""How far apart the arms of a finished run are: mean action top-1 over all subsets, with intervals of a paired bootstrap over clips.

python benchmarks/differences.py RUN [--against baseline_dropout,own_votes]

RUN is a directory of `karmma run`. Clips are resampled, the run's seeds are averaged; every seed's own difference stands beside it,
and so does that over the subsets of one sensor, of two and so on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from paired import Correct, compare, correctness, summarise
from recording import write_result

from karmma.experiment.testing import LOGITS


def by_sensors(values: Correct, reference: Correct) -> dict[str, dict[str, float]]:
    """The difference over the subsets of as many sensors as the key says."""
    sizes = {subset: subset.count("+") + 1 for subset in reference}
    return {
        str(size): compare(values, {subset: reference[subset] for subset, sensors in sizes.items() if sensors == size})
        for size in sorted(set(sizes.values()))
    }


def differences(run: Path, arms: list[str], seeds: list[int], reference: str) -> dict[str, Any]:
    """Every arm but the reference, by name."""

    def pair(name: str, some: list[int]) -> tuple[Correct, Correct]:
        return correctness(run, some, name, LOGITS), correctness(run, some, reference, LOGITS)

    def row(name: str) -> dict[str, Any]:
        both = pair(name, seeds)
        by_seed = [compare(*pair(name, [seed]))["difference"] for seed in seeds]
        return {**compare(*both), "by_seed": by_seed, "by_sensors": by_sensors(*both)}

    return {name: row(name) for name in arms if name != reference}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--against", default="baseline_dropout")
    options = parser.parse_args()
    recipe = json.loads((options.run / "recipe.json").read_text())
    seeds = recipe["seeds"]
    arms = sorted(path.parent.name for path in (options.run / f"seed{seeds[0]}").glob(f"*/{LOGITS}"))
    top1 = {name: summarise(correctness(options.run, seeds, name, LOGITS)) for name in arms}
    against = {name: differences(options.run, arms, seeds, name) for name in options.against.split(",")}
    write_result(f"differences_{recipe['name']}", {"recipe": recipe["name"], "seeds": seeds, "top1": top1, "against": against})


if __name__ == "__main__":
    main()
