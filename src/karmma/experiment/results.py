"""results.json: everything measured in a run, over seeds. The schema is documented in docs/results.md and stable."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.clips import ClipStore
from ..data.manifest import Segment
from ..evaluation.metrics import mean_of
from ..evaluation.profile import count_gflops, count_parameters
from ..evaluation.tables import headline_metric
from ..files import read_json
from ..models.checkpoint import load_checkpoint
from ..training.history import read_history
from ..trees import plain
from ..types import subset_name, subsets_of
from .arms import load_specialists
from .comparison import compare_methods
from .context import TEACHER, Context
from .provenance import provenance

SCHEMA_VERSION = 1
BASELINES = ("baseline_dropout", "baseline")
Summary = dict[str, float | int | None]


def summarise(values: Sequence[float | None]) -> Summary:
    """Mean, sample standard deviation (None for one value) and count of what was measured."""
    known = [value for value in values if value is not None]
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": mean_of(known), "std": deviation, "n": len(known)}


def summarise_trees(trees: Sequence[Any]) -> Any:
    """The same nested dict with a summary in place of every number."""
    if isinstance(trees[0], dict):
        return {key: summarise_trees([tree[key] for tree in trees]) for key in trees[0]}
    return summarise(trees)


def collect_results(context: Context, stores: Mapping[str, ClipStore]) -> dict[str, Any]:
    """The content of results.json from the evaluations of all seeds."""
    recipe, manifest, directory = context.recipe, context.manifest, context.directory
    unimodal = {
        name: read_json(directory / "unimodal" / name / "evaluation.json")["subsets"][name]
        for name in (recipe.modalities if recipe.train_teacher else ())
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": recipe.name,
        "modalities": list(recipe.modalities),
        "split": recipe.evaluation.split,
        "samples": {name: len(segments) for name, segments in manifest.splits.items()},
        "available": {split: store.counts for split, store in stores.items()},
        "unreadable": {split: len(store.failures()) for split, store in stores.items()},
        "methods": {name: method_results(context, name) for name in context.arms},
        "differences": differences(context),
        "unimodal": unimodal,
        "chance": majority(manifest.splits["train"], manifest.split(recipe.evaluation.split)),
        "seeds": list(recipe.seeds),
        "seconds": context.book.seconds(),
        "data": dict(manifest.provenance),
        "settings": plain(recipe),
        **provenance(),
    }


def differences(context: Context) -> dict[str, Any] | None:
    """All methods against the strongest of the paper's baselines that the run has; None where there is nothing to compare."""
    against = next((name for name in BASELINES if name in context.arms), None)
    if against is None or len(context.arms) < 2:
        return None
    return compare_methods([context.directory], context.recipe.seeds, context.arms, against)


def method_results(context: Context, name: str) -> dict[str, Any]:
    """Accuracies of a method over the seeds, and its cost."""
    directories = [context.seed_directory(seed, name) for seed in context.recipe.seeds]
    evaluations = [read_json(directory / "evaluation.json") for directory in directories]
    parameters, gflops = costs(context, name, context.recipe.seeds[0])
    single_view = [entry["single_view"] for entry in evaluations if "single_view" in entry]
    return {
        **subset_results([entry["subsets"] for entry in evaluations]),
        "sweep": summarise_trees([entry["sweep"] for entry in evaluations]),
        "retention": summarise_trees([entry["retention"] for entry in evaluations]),
        "parameters": parameters,
        "gflops": gflops[subset_name(context.names)],
        "gflops_by_subset": gflops,
        **({"single_view": subset_results(single_view)} if single_view else {}),
        **watched_results(context, directories),
    }


def watched_results(context: Context, directories: Sequence[Path]) -> dict[str, Any]:
    """What the watched split's figures were after each epoch that they were measured after; nothing where nobody watched."""
    if context.recipe.watch is None:
        return {}
    prefix = f"{context.recipe.watch.split}_"
    found: dict[str, dict[str, list[float | None]]] = defaultdict(lambda: defaultdict(list))
    for row in (row for directory in directories for row in read_history(directory / "training" / "history.csv")):
        for name, value in row.items():
            if name.startswith(prefix) and value is not None:
                found[name.removeprefix(prefix)][str(int(row["epoch"] or 0) + 1)].append(value)
    watched = {name: {epoch: summarise(values) for epoch, values in epochs.items()} for name, epochs in found.items()}
    return {"watched": watched} if watched else {}


def final_figures(results: Mapping[str, Any]) -> dict[str, float]:
    """Percent of the metric to show first, `METHOD/SUBSET` and `METHOD/mean_over_subsets`, in the mean over seeds."""
    metric, figures = headline_metric(results), dict[str, float]()
    for name, method in results["methods"].items():
        rows = {**method["subsets"], "mean_over_subsets": method["mean_over_subsets"]}
        figures |= {f"{name}/{row}": means[metric]["mean"] for row, means in rows.items() if means[metric]["mean"] is not None}
    return figures


def subset_results(evaluations: Sequence[dict[str, dict[str, float | None]]]) -> dict[str, Any]:
    """Accuracies by subset and their mean, over seeds."""
    return {"subsets": summarise_trees(evaluations), "mean_over_subsets": mean_over_subsets(evaluations)}


def costs(context: Context, name: str, seed: int) -> tuple[int, dict[str, float]]:
    """Parameters of all models that a method needs, and GFLOPs for a clip that has a subset."""
    method = None if name == TEACHER else context.recipe.methods[name]
    specs = {other: modality.spec for other, modality in context.modalities.items()}
    subsets = subsets_of(context.names)
    fused = method is not None and (method.late_fusion_of or (name if method.specialists == "single" else None))
    if fused:
        models = load_specialists(context, fused, seed)
        single = {name: count_gflops(models[(name,)], specs, (name,)) for name in context.names}
        parameters = sum(count_parameters(models[(name,)]) for name in context.names)
        return parameters, {subset_name(subset): sum(single[name] for name in subset) for subset in subsets}
    if method is not None and method.specialists:
        models = load_specialists(context, name, seed)
        gflops = {subset_name(subset): count_gflops(models[subset], specs, subset) for subset in subsets}
        return sum(count_parameters(model) for model in models.values()), gflops
    model, _ = load_checkpoint(context.seed_directory(seed, name))
    return count_parameters(model), {subset_name(subset): count_gflops(model, specs, subset) for subset in subsets}


def mean_over_subsets(evaluations: Sequence[dict[str, dict[str, float | None]]]) -> dict[str, Summary]:
    """Mean over all non-empty subsets, per metric, summarised over seeds."""
    metrics = next(iter(evaluations[0].values()))
    return {
        metric: summarise([mean_of(row[metric] for row in entry.values()) for entry in evaluations]) for metric in metrics
    }


def majority(train: Sequence[Segment], test: Sequence[Segment]) -> dict[str, float]:
    """Percent reached by always answering the most frequent training class, and pair for `action`."""
    heads = list(train[0].labels)
    result = {}
    for head in heads:
        best = statistics.mode(segment.labels[head] for segment in train)
        result[f"{head}_top1"] = 100 * statistics.fmean(segment.labels[head] == best for segment in test)
    pair = statistics.mode(tuple(segment.labels.values()) for segment in train)
    result["action_top1"] = 100 * statistics.fmean(tuple(segment.labels.values()) == pair for segment in test)
    return result
