"""`karmma run`: simulate or find the data, read it, pre-train, teach, distil, evaluate, report; only what is not yet done."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from .. import processes
from ..config import Recipe
from ..evaluation.report import write_report
from ..files import alone_in, read_json, write_json
from ..memory import keep_freed_memory
from ..trees import plain
from .arms import train_teacher
from .context import Context
from .jobs import evaluations, preparations, trainings
from .pretraining import cache_tokens, keep_published
from .results import collect_results, final_figures
from .side_by_side import run_jobs
from .testing import measure_unimodal


def run(recipe: Recipe, directory: Path) -> dict[str, Any]:
    """Every stage of a recipe that is not yet done in a directory; returns the content of results.json.

    Under `torchrun` the processes train together, and the first does everything else; `directory` must be one that all
    of them see.
    """
    keep_freed_memory()
    with alone_in(directory) if processes.is_first() else nullcontext(), processes.joined():
        return run_stages(recipe, directory)


def run_stages(recipe: Recipe, directory: Path) -> dict[str, Any]:
    """The stages in their order."""
    directory.mkdir(parents=True, exist_ok=True)
    if processes.is_first():
        write_json(directory / "recipe.json", plain(recipe))
    context = Context(recipe, directory)
    if context.tracker and processes.is_first():
        context.tracker.check()
    context.check_models()
    context.make_data()
    stores = {split: context.read_clips(split) for split in context.splits}
    keep_published(context)
    if recipe.train_teacher:
        run_jobs(context, preparations(context), stores)
        tokens = cache_tokens(context, stores["train"])
        for seed in recipe.seeds:
            train_teacher(context, seed, stores["train"], tokens)
        measure_unimodal(context, stores, tokens)
    run_jobs(context, [*preparations(context), *trainings(context), *evaluations(context)], stores)
    if processes.is_first():
        results = collect_results(context, stores)
        write_json(directory / "results.json", results)
        write_report(directory, results, stores[recipe.evaluation.split], context.manifest)
        if context.tracker:
            context.tracker.tell_results(final_figures(results), sorted((directory / "plots").glob("*.png")))
    processes.wait()
    return read_json(directory / "results.json")
