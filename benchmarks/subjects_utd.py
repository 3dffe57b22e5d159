"""How accuracy on a person nobody has seen grows with the number of people trained on, and what one more would give.

python benchmarks/subjects_utd.py UTD_ROOT WORK_DIR [--folds 1,3,5,7] [--people 1,2,3] [--seeds 0] [--arm own_votes] [KEY=VALUE …]

Each training subject of UTD-MHAD is left out in turn; recipes/utd_mhad.yaml is trained on every choice of one, two and three
of the others. The official split trains on all four, one more than any fold can, so that folds underestimate it: a power
law through the errors says by how much. The official test subjects are never read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from folds import fold_arguments, join_seeds, numbers, summarise
from folds_utd import run_fold
from matplotlib.figure import Figure
from numpy.typing import NDArray
from recording import RESULTS, write_result

from karmma.datasets.utd_mhad import UtdMhadConfig
from karmma.evaluation.paired import Outcomes, by_group, draw_levels, fold_of_groups, join_folds
from karmma.evaluation.plots import new_figure, save_png, tidy
from karmma.experiment.comparison import read_outcomes

SUBJECTS = UtdMhadConfig().train_subjects
MEAN = "mean"
Job = tuple[Path, Path, int, list[int], list[str], list[str]]


def trained_on(fold: int, people: int) -> list[tuple[int, ...]]:
    """Every choice of so many training subjects without the one left out."""
    return list(combinations([subject for subject in SUBJECTS if subject != fold], people))


def place(work: Path, fold: int, subjects: Sequence[int]) -> Path:
    return work / f"fold{fold}" / f"trained_on_{'_'.join(map(str, subjects))}"


def over_people(work: Path, folds: Sequence[int], people: int, seeds: Sequence[int], arm: str) -> Outcomes:
    """All trials of all folds, each tested where its subject was left out; one row for each seed and choice of whom to train on."""
    rows = []
    for fold in folds:
        runs = [{arm: read_outcomes([place(work, fold, subjects)], seeds, arm)} for subjects in trained_on(fold, people)]
        rows.append(join_seeds(runs)[arm])
    return join_folds(rows)


def extrapolate(people: Sequence[int], errors: NDArray[np.float64], to: int) -> NDArray[np.float64]:
    """Error `(...)` of a power law through errors `(counts of people, ...)`, fitted by least squares of logarithms."""
    x = np.log(people)
    slopes = ((x - x.mean())[:, None] * np.log(errors).reshape(len(x), -1)).sum(0) / np.square(x - x.mean()).sum()
    levels = np.log(errors).reshape(len(x), -1).mean(0) + slopes * (np.log(to) - x.mean())
    return np.asarray(np.exp(levels).reshape(errors.shape[1:]))


def predict(found: Mapping[int, Outcomes], to: int) -> dict[str, dict[str, float]]:
    """Top-1 in percent with `to` people, per subset and in the mean, with the 95 % interval over resampled groups of trials."""
    people = sorted(found)
    subsets = list(found[people[0]].hits)
    floor = 0.5 / len(found[people[0]].groups)  # no error at all has no logarithm
    levels = [np.array(list(found[count].top1().values())) / 100 for count in people]
    best = 100 * (1 - extrapolate(people, np.maximum(1 - np.stack(levels), floor), to))
    spread = 100 * (1 - extrapolate(people, np.maximum(1 - np.stack([drawn_top1(found[count]) for count in people]), floor), to))
    columns = {subset: (best[index], spread[:, index]) for index, subset in enumerate(subsets)}
    columns[MEAN] = (best.mean(), spread.mean(1))
    return {name: interval(float(value), some) for name, (value, some) in columns.items()}


def drawn_top1(outcomes: Outcomes) -> NDArray[np.float64]:
    """Shares recognised `(draws, subsets)` of drawn groups, the same draws for everything that has the same groups."""
    sums, counts = by_group(np.stack(list(outcomes.hits.values())), outcomes.groups)
    return draw_levels(sums.mean(1), counts, fold_of_groups(outcomes))


def interval(value: float, drawn: NDArray[np.float64]) -> dict[str, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"top1": round(value, 2), "low": round(float(low), 2), "high": round(float(high), 2)}


def draw(top1: Mapping[int, Mapping[str, float]], predicted: Mapping[str, Mapping[str, float]], subsets: Sequence[str]) -> Figure:
    """One small panel per subset: error by number of people on logarithmic axes, where the power law is a straight line."""
    people = sorted(top1)
    rows = (len(subsets) + 1) // 4
    figure = new_figure(11.0, 0.4 + 2.8 * rows)
    panels = figure.subplots(rows, 4, sharex=True, sharey=True).ravel()
    for axes, subset in zip(panels, (*subsets, MEAN), strict=True):
        end = predicted[subset]
        axes.plot(people, [100 - top1[count][subset] for count in people], "o-", color="#1d4ed8", label="measured")
        axes.errorbar(
            [people[-1] + 1], [100 - end["top1"]], [[end["high"] - end["top1"]], [end["top1"] - end["low"]]],
            fmt="D", color="#d97706", capsize=3, label="by the power law",
        )  # fmt: skip
        axes.set(xscale="log", yscale="log", title=subset.replace("+", " + "))
        axes.set_xticks([*people, people[-1] + 1], labels=[*people, people[-1] + 1])
        axes.set_yticks([0.5, 1, 2, 5, 10, 20, 40], labels=["0.5", "1", "2", "5", "10", "20", "40"])
        axes.minorticks_off()
        tidy(axes)
    panels[0].legend(frameon=False)
    figure.supxlabel("people trained on")
    figure.supylabel("error on a person left out, %")
    return figure


def train_all(
    root: Path, work: Path, folds: Sequence[int], people: Sequence[int], seeds: list[int], arm: str, overrides: list[str]
) -> None:
    def job(fold: int, subjects: tuple[int, ...]) -> Job:
        there = sorted((*subjects, fold))
        chosen = [] if there == sorted(SUBJECTS) else [f"data.settings.train_subjects={there}"]
        return root, place(work, fold, subjects), fold, seeds, [arm], [*chosen, *overrides]

    jobs = [job(fold, some) for count in reversed(people) for fold in folds for some in trained_on(fold, count)]
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
        for number, future in enumerate(as_completed([pool.submit(run_fold, job) for job in jobs]), 1):
            future.result()
            print(f"{number} of {len(jobs)}", flush=True)


def main() -> None:
    parser = fold_arguments(__doc__)
    parser.add_argument("--people", default="1,2,3")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--arm", default="own_votes")
    parser.add_argument("--name", default="subjects_utd", help="of the file in results/")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    folds, people, seeds = numbers(options.folds), sorted(numbers(options.people)), numbers(options.seeds)
    work = options.work.resolve()
    train_all(options.root.resolve(), work, folds, people, seeds, options.arm, options.overrides)
    found = {count: over_people(work, folds, count, seeds, options.arm) for count in people}
    result: dict[str, Any] = {"folds": folds, "seeds": seeds, "arm": options.arm, "overrides": options.overrides}
    result["top1_by_people"] = {count: summarise(rows) for count, rows in found.items()}
    result["by_power_law_one_more"] = predict(found, people[-1] + 1)
    if len(people) > 2:
        fewer = {count: found[count] for count in people[:-1]}
        result["by_power_law_of_fewer_what_was_measured"] = predict(fewer, people[-1])
    figure = draw(result["top1_by_people"], result["by_power_law_one_more"], list(found[people[0]].hits))
    save_png(figure, RESULTS / f"{options.name}.png")
    write_result(options.name, result)


if __name__ == "__main__":
    main()
