"""results.json: everything measured in a run, over seeds. The schema is documented in docs/results.md and stable."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import Recipe, plain
from ..data.manifest import Manifest, Segment
from ..evaluation.metrics import mean_of
from ..evaluation.profile import count_gflops, count_parameters
from ..models.checkpoint import load_checkpoint
from ..types import subset_name, subsets_of
from .provenance import provenance

SCHEMA_VERSION = 1
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


def collect_results(directory: Path, recipe: Recipe, manifest: Manifest, seconds: dict[str, float]) -> dict[str, Any]:
    """The content of results.json from the evaluations of all seeds."""
    methods = {name: method_results(directory, name, recipe.seeds) for name in ("teacher", *recipe.methods)}
    split = manifest.split(recipe.evaluation.split)
    unimodal = {
        name: json.loads((directory / "unimodal" / name / "evaluation.json").read_text())["subsets"][name]
        for name in recipe.modalities
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": recipe.name,
        "modalities": list(recipe.modalities),
        "split": recipe.evaluation.split,
        "samples": {name: len(segments) for name, segments in manifest.splits.items()},
        "methods": methods,
        "unimodal": unimodal,
        "chance": majority(manifest.splits["train"], split),
        "seeds": list(recipe.seeds),
        "seconds": seconds,
        "data": dict(manifest.provenance),
        "settings": plain(recipe),
        **provenance(),
    }


def method_results(directory: Path, name: str, seeds: Sequence[int]) -> dict[str, Any]:
    evaluations = [json.loads((directory / f"seed{seed}" / name / "evaluation.json").read_text()) for seed in seeds]
    model, info = load_checkpoint(directory / f"seed{seeds[0]}" / name)
    costs = {subset_name(subset): count_gflops(model, info.specs, subset) for subset in subsets_of(model.modalities)}
    return {
        "subsets": summarise_trees([entry["subsets"] for entry in evaluations]),
        "sweep": summarise_trees([entry["sweep"] for entry in evaluations]),
        "retention": summarise_trees([entry["retention"] for entry in evaluations]),
        "mean_over_subsets": mean_over_subsets([entry["subsets"] for entry in evaluations]),
        "parameters": count_parameters(model),
        "gflops": costs[subset_name(model.modalities)],
        "gflops_by_subset": costs,
    }


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
