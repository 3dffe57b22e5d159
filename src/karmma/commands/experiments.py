"""Verbs around experiments: running recipes, testing and comparing what came out, what a model costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Overrides


def run(
    recipe: Annotated[Path, typer.Argument(help="a recipe: a file, or the name of a shipped one, e.g. demo")],
    out: Annotated[Path, typer.Option(help="directory for everything the run makes; an unfinished run goes on there")],
    overrides: Overrides = None,
    only: Annotated[
        str | None, typer.Option(help="only these methods and what they build on, e.g. karmma,baseline; or all")
    ] = None,
) -> None:
    """Run every stage of RECIPE that is not yet done in OUT: data, pre-training, teacher, students, evaluation, report."""
    from ..config import load_chosen

    chosen = load_chosen(recipe, overrides, only.split(",") if only else [])

    from .. import processes  # what trains takes seconds to load, in which nobody should wait to be told of a misspelt key
    from ..evaluation.tables import print_results
    from ..experiment.run import run as run_recipe

    results = run_recipe(chosen, out)
    if processes.is_first():
        print_results(results, out)


def recipes(
    name: Annotated[str | None, typer.Argument(help="print this one, e.g. to change it: karmma recipes demo > mine.yaml")] = None,
) -> None:
    """The recipes that come with karmma, each with the command that runs it."""
    from ..config import find_recipe, shipped_recipes
    from ..files import read_text

    if name is not None:
        typer.echo(read_text(find_recipe(Path(name))), nl=False)
        return
    for shipped, path in shipped_recipes().items():
        typer.echo(f"{shipped:22} {read_text(path).splitlines()[0].removeprefix('# ').replace(f'recipes/{path.name}', shipped)}")


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory")],
    root: Annotated[Path, typer.Argument(help="directory of the data set")],
    dataset: Annotated[str | None, typer.Option(help="which data set it is; default: the one it was trained on")] = None,
    split: Annotated[str, typer.Option(help="which split")] = "test",
    cache: Annotated[Path | None, typer.Option(help="directory for decoded clips; default: a temporary one")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
    protocol: Annotated[str, typer.Option(help="subsets (P1), sweep (P2), all (both), observation (P3), window (P4)")] = "all",
    missing: Annotated[str | None, typer.Option(help="P3, P4: what fails, e.g. audio or rgb+flow")] = None,
    mask: Annotated[Path | None, typer.Option(help="P3: a published mask CSV in place of --missing")] = None,
    views: Annotated[int, typer.Option(min=1, help="looks at each clip whose probabilities are averaged: fixed, then augmented")] = 1,
    adapt: Annotated[bool, typer.Option("--adapt", help="P3: also while it goes on learning, unlabelled, by MiDl")] = False,
    adapt_lr: Annotated[float, typer.Option(min=0, help="MiDl's learning rate; default: its authors'")] = 6.25e-5,
    overrides: Annotated[list[str] | None, typer.Argument(help="settings of the data set as key=value")] = None,
) -> None:
    """Test CHECKPOINT on a data set with modalities missing."""
    from ..evaluation.adaptation import Midl
    from ..evaluation.tables import print_evaluation
    from ..experiment.evaluation import Protocol, evaluate_checkpoint
    from ..files import write_json
    from ..trees import apply_overrides

    chosen = Protocol(protocol, tuple(missing.split("+")) if missing else (), mask, Midl(adapt_lr) if adapt else None)
    result = evaluate_checkpoint(checkpoint, root, dataset, split, cache, apply_overrides({}, overrides), chosen, views)
    print_evaluation(result)
    if json_path is not None:
        write_json(json_path, result)


def scores(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory")],
    root: Annotated[Path, typer.Argument(help="directory of the data set")],
    out: Annotated[Path, typer.Option(help="the .npz to write")],
    dataset: Annotated[str | None, typer.Option(help="which data set it is; default: the one it was trained on")] = None,
    split: Annotated[str, typer.Option(help="which split; it needs no labels")] = "test",
    only: Annotated[str | None, typer.Option(help="only these modalities, e.g. rgb+audio")] = None,
    cache: Annotated[Path | None, typer.Option(help="directory for decoded clips; default: a temporary one")] = None,
    views: Annotated[int, typer.Option(min=1, help="looks at each clip whose probabilities are averaged: fixed, then augmented")] = 1,
    overrides: Annotated[list[str] | None, typer.Argument(help="settings of the data set as key=value")] = None,
) -> None:
    """Write what CHECKPOINT says of every clip: logits by head, for `karmma metrics epic`, `karmma submit epic` and your own scripts.

    Exit code 3: nothing of some clips could be read; their scores are all 0.
    """
    from ..experiment.evaluation import require_npz, score_split
    from ..trees import apply_overrides

    require_npz(out)
    wanted = tuple(only.split("+")) if only else ()
    result = score_split(checkpoint, root, dataset, split, cache, apply_overrides({}, overrides), wanted, views)
    result.save(out)
    typer.echo(f"wrote {out}: {len(result.names)} clips, {', '.join(result.logits)}")
    if result.unread:
        typer.echo(f"karmma: of {len(result.unread)} clips nothing could be read, e.g. {result.unread[0]}", err=True)
        raise typer.Exit(3)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="directories of `karmma run`; several: folds that tested different samples")],
    against: Annotated[str, typer.Option(help="the method that the others are compared with")] = "baseline_dropout",
    metric: Annotated[str | None, typer.Option(help="e.g. verb_top1; default: actions, else the first head")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here, also by subset and seed")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw the intervals into this PNG")] = None,
) -> None:
    """Which methods of RUNS are better than another by more than chance: paired, by the number of sensors present."""
    from ..evaluation.plots import plot_differences, save_png
    from ..evaluation.tables import print_comparison
    from ..experiment.comparison import compare_runs
    from ..experiment.provenance import provenance
    from ..files import write_json

    result = compare_runs(runs, against, metric)
    print_comparison(result)
    if json_path is not None:
        write_json(json_path, {**result, **provenance()})
    if plot is not None:
        save_png(plot_differences(result), plot)


def profile(
    target: Annotated[Path, typer.Argument(help="a recipe or a checkpoint directory")],
    overrides: Overrides = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
    plots: Annotated[Path | None, typer.Option(help="write bar plots of GFLOPs and memory into this directory")] = None,
    repeats: Annotated[int, typer.Option(min=0, help="forward passes timed per subset; 0 only counts and runs nothing")] = 3,
    batch: Annotated[int, typer.Option(min=1, help="batch size for the throughput")] = 1,
) -> None:
    """Parameters, GFLOPs, memory, latency and throughput for every subset of modalities."""
    from ..evaluation.plots import plot_costs, save_png
    from ..evaluation.tables import print_costs
    from ..experiment.profiling import describe_costs, find_recognizers, profile_costs
    from ..files import write_json
    from ..progress import Progress

    with Progress("profile") as progress:
        costs = profile_costs(find_recognizers(target, overrides), repeats, batch, progress.update)
    print_costs(costs)
    if json_path is not None:
        write_json(json_path, describe_costs(costs, repeats, batch))
    if plots is not None:
        save_png(plot_costs(costs, "gflops", "GFLOPs per clip"), plots / "gflops.png")
        if repeats:
            save_png(plot_costs(costs, "peak_megabytes", "peak memory, MB"), plots / "memory.png")
