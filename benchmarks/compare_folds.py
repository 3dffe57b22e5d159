"""How far the arms of one fold experiment are ahead of the same arms of an earlier one, trial by trial.

python benchmarks/compare_folds.py NAME EARLIER

Both are results of folds_utd.py (results/NAME.json and .npz) with the same folds; arms that both have are compared by the
seeds that both have, whole, with one look, without random kernels and these alone. KARMMA is also compared with the earlier
one's other arms.
"""

from __future__ import annotations

import argparse
import json

from folds import load_outcomes, some_of
from folds_utd import against
from recording import RESULTS, write_result

from karmma.evaluation.paired import Outcomes


def outcomes_of(name: str, known: list[int], seeds: list[int]) -> dict[str, Outcomes]:
    """What every arm of a result recognised with some of its seeds."""
    rows = [known.index(seed) for seed in seeds]
    return {key: some_of(outcomes, rows) for key, outcomes in load_outcomes(RESULTS / f"{name}.npz").items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("earlier")
    options = parser.parse_args()
    new, old = (json.loads((RESULTS / f"{name}.json").read_text()) for name in (options.name, options.earlier))
    seeds = [seed for seed in new["seeds"] if seed in old["seeds"]]
    if new["folds"] != old["folds"] or not seeds:
        raise ValueError(f"{options.earlier}: folds {old['folds']}, seeds {old['seeds']}; {options.name} has others")
    later, before = (outcomes_of(name, result["seeds"], seeds) for name, result in ((options.name, new), (options.earlier, old)))
    same = {key: against(rows, before[key]) for key, rows in later.items() if key in before}
    others = {key: against(later["whole/karmma"], rows) for key, rows in before.items() if key.startswith("whole/")}
    write_result(f"{options.name}_against_{options.earlier}", {
        "folds": new["folds"], "seeds": seeds, "same_arms": same, "karmma_against_earlier": others,
    })  # fmt: skip


if __name__ == "__main__":
    main()
