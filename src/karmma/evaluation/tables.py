"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

TITLES = {
    "teacher": "teacher", "baseline": "Baseline", "baseline_dropout": "Baseline w/ δ", "karmma": "KARMMA student",
    "specialists": "specialist per subset", "early_fusion": "early fusion, zeros", "late_fusion": "late fusion",
}  # fmt: skip


def title_of(method: str) -> str:
    return TITLES.get(method, method)


def with_deviation(summary: Mapping[str, float | None]) -> str:
    """`42.1 ± 0.8`, `42.1` for one seed, a dash for what could not be measured."""
    if summary["mean"] is None:
        return "–"
    return f"{summary['mean']:.1f}" + (f" ± {summary['std']:.1f}" if summary["std"] is not None else "")


def as_share(summary: Mapping[str, float | None]) -> str:
    """`72 %` of a summary between 0 and 1."""
    return "–" if summary["mean"] is None else f"{100 * summary['mean']:.0f} %"


def headline_metric(results: Mapping[str, Any]) -> str:
    """Action accuracy where there is one, else that of the first head."""
    metrics = next(iter(results["methods"]["teacher"]["subsets"].values()))
    return "action_top1" if "action_top1" in metrics else next(iter(metrics))


def print_results(results: Mapping[str, Any], directory: Path) -> None:
    """Accuracy per subset for every method, means, retention, size."""
    metric, methods = headline_metric(results), results["methods"]
    table = Table(
        title=f"{results['recipe']}: {metric.replace('_', ' ')} %, {results['split']} split, {len(results['seeds'])} seed(s)"
    )
    table.add_column("modalities present")
    for name in methods:
        table.add_column(title_of(name), justify="right")
    for subset in methods["teacher"]["subsets"]:
        table.add_row(subset, *[with_deviation(method["subsets"][subset][metric]) for method in methods.values()])
    table.add_section()
    table.add_row("mean over subsets", *[with_deviation(method["mean_over_subsets"][metric]) for method in methods.values()])
    table.add_row("retention", *[as_share(method["retention"][metric]) for method in methods.values()])
    table.add_row("parameters", *[f"{method['parameters'] / 1e6:.2f} M" for method in methods.values()])
    table.add_row("GFLOPs", *[f"{method['gflops']:.2f}" for method in methods.values()])
    console = Console(width=None if Console().is_terminal else 120)
    console.print(table)
    console.print(f"report: {directory / 'report.html'}   figures: {directory / 'results.json'}", soft_wrap=True)


def print_evaluation(result: Mapping[str, Any]) -> None:
    """All metrics per subset of one checkpoint."""
    metrics = list(next(iter(result["subsets"].values())))
    table = Table(title=f"{result['samples']} samples, percent")
    table.add_column("modalities present")
    for metric in metrics:
        table.add_column(metric.replace("_", " "), justify="right")
    for subset, values in result["subsets"].items():
        table.add_row(subset, *["–" if values[metric] is None else f"{values[metric]:.1f}" for metric in metrics])
    Console(width=None if Console().is_terminal else 120).print(table)
