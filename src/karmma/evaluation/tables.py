"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .metrics import headline_of
from .profile import Cost

TITLES = {
    "teacher": "teacher", "baseline": "Baseline", "baseline_dropout": "Baseline w/ δ", "karmma": "KARMMA student",
    "karmma_paper": "KARMMA as in the paper", "own_votes": "own votes, labels alone", "karmma_absence": "KARMMA, α by absence",
    "specialists": "specialist per subset", "early_fusion": "early fusion, zeros", "late_fusion": "late fusion",
}  # fmt: skip


def console_for(columns: int) -> Console:
    """The terminal as wide as it is; a file or pipe, which has no width of its own, as wide as a table wants."""
    console = Console()
    return console if console.is_terminal else Console(width=columns)


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


COST_COLUMNS = {
    "parameters": ("parameters, M", 1e-6, "{:.2f}"),
    "gflops": ("GFLOPs", 1, "{:.4f}"),
    "gflops_with_absent_tokens": ("with absent tokens", 1, "{:.4f}"),
    "weights_megabytes": ("weights, MB", 1, "{:.1f}"),
    "peak_megabytes": ("peak memory, MB", 1, "{:.1f}"),
    "latency_ms": ("latency, ms", 1, "{:.1f}"),
    "clips_per_second": ("clips/s", 1, "{:.2f}"),
}


def print_costs(costs: Mapping[str, Mapping[str, Cost]]) -> None:
    """A table of costs per recognizer and subset; columns that were not measured are left out."""
    rows = [cost for by_subset in costs.values() for cost in by_subset.values()]
    columns = [name for name in COST_COLUMNS if any(getattr(cost, name) is not None for cost in rows)]
    table = Table(title="one clip, fp32; absent modalities absent")
    table.add_column("recognizer")
    table.add_column("modalities present")
    for name in columns:
        table.add_column(COST_COLUMNS[name][0], justify="right")
    for recognizer, by_subset in costs.items():
        for subset, cost in by_subset.items():
            cells = [COST_COLUMNS[name][2].format(getattr(cost, name) * COST_COLUMNS[name][1]) for name in columns]
            table.add_row(recognizer, subset, *cells)
        table.add_section()
    console_for(140).print(table)


def subsets_of_results(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """Accuracies by subset of the first method: all methods have the same subsets and metrics."""
    return next(iter(results["methods"].values()))["subsets"]


def headline_metric(results: Mapping[str, Any]) -> str:
    """Action accuracy where there is one, else that of the first head."""
    return headline_of(list(next(iter(subsets_of_results(results).values()))))


def print_results(results: Mapping[str, Any], directory: Path) -> None:
    """Accuracy per subset for every method, means, retention, size."""
    metric, methods = headline_metric(results), results["methods"]
    table = Table(
        title=f"{results['recipe']}: {metric.replace('_', ' ')} %, {results['split']} split, {len(results['seeds'])} seed(s)"
    )
    table.add_column("modalities present")
    for name in methods:
        table.add_column(title_of(name), justify="right")
    for subset in subsets_of_results(results):
        table.add_row(subset, *[with_deviation(method["subsets"][subset][metric]) for method in methods.values()])
    table.add_section()
    table.add_row("mean over subsets", *[with_deviation(method["mean_over_subsets"][metric]) for method in methods.values()])
    if results["differences"] is not None:
        add_differences(table, results["differences"], list(methods))
    table.add_row("retention", *[as_share(method["retention"][metric]) for method in methods.values()])
    table.add_row("parameters", *[f"{method['parameters'] / 1e6:.2f} M" for method in methods.values()])
    table.add_row("GFLOPs", *[f"{method['gflops']:.2f}" for method in methods.values()])
    console = console_for(120)
    console.print(table)
    console.print(f"report: {directory / 'report.html'}   figures: {directory / 'results.json'}", soft_wrap=True)


def with_interval(difference: Mapping[str, float]) -> str:
    """`+1.2 (0.3 to 2.1)`."""
    return f"{difference['difference']:+.1f} ({difference['low']:.1f} to {difference['high']:.1f})".replace("-", "−")


def add_differences(table: Table, comparison: Mapping[str, Any], methods: Sequence[str]) -> None:
    """A row of what each method is ahead of the one that all are compared with."""
    found = comparison["differences"]
    cells = [with_interval(found[name]["mean"]) if name in found else "" for name in methods]
    table.add_row(f"− {title_of(comparison['against'])}", *cells)


def print_comparison(comparison: Mapping[str, Any]) -> None:
    """Every method's points to one of them, the best first; bold where the interval is on one side of zero."""
    against, found = comparison["against"], comparison["differences"]
    seeds, samples, groups = len(comparison["seeds"]), comparison["samples"], comparison["groups"]
    table = Table(title=f"points to {title_of(against)}, 95 % interval; {samples} samples in {groups} groups, {seeds} seed(s)")
    table.add_column("method")
    table.add_column("mean, %", justify="right")
    table.add_column("− the reference's", justify="right")
    sizes = list(next(iter(found.values()))["by_sensors"]) if found else []
    for size in sizes:
        table.add_column(f"{size} sensor{'s' * (size != '1')}", justify="right")
    for name in sorted(comparison["top1"], key=lambda name: -comparison["top1"][name]["mean"]):
        rows = [found[name]["mean"], *found[name]["by_sensors"].values()] if name in found else []
        cells = [with_interval(row) if row["low"] <= 0 <= row["high"] else f"[bold]{with_interval(row)}[/bold]" for row in rows]
        table.add_row(title_of(name), f"{comparison['top1'][name]['mean']:.1f}", *cells)
    console_for(40 + 24 * (len(sizes) + 1)).print(table)


def print_evaluation(result: Mapping[str, Any]) -> None:
    """All metrics per row of the protocols that were measured: subsets, dropout rates, shares of incomplete samples."""
    titles = {"subsets": "modalities present", "sweep": "dropout rate", "observation": "share of samples incomplete",
              "adapted": "share incomplete, the network adapting", "window": "rate of outages per window"}  # fmt: skip
    for protocol, title in titles.items():
        if protocol not in result:
            continue
        metrics = list(next(iter(result[protocol].values())))
        table = Table(title=f"{result['samples']} samples, percent")
        table.add_column(title)
        for metric in metrics:
            table.add_column(metric.replace("_", " "), justify="right")
        for row, values in result[protocol].items():
            table.add_row(row, *["–" if values[metric] is None else f"{values[metric]:.1f}" for metric in metrics])
        console_for(120).print(table)


SHOWN = 40  # rows of a table on the terminal; files hold all


def print_check(check: Any) -> None:
    """Files with errors first, then with warnings, then segments; the sound ones are only counted.

    Into a pipe goes a line per finding, never folded: paths stay whole, so that they can be searched for.
    """
    console = Console()
    rows = [("error", str(report.path), words) for report in check.files for words in report.errors]
    rows += [(f"error in {name}", path, words) for name, path, words in check.segments]
    rows += [("warning", "clips", words) for words in check.doubts]
    rows += [("warning", str(report.path), words) for report in check.files for words in report.warnings]
    if console.is_terminal and rows:
        table = Table(title=f"{len(check.files)} files: {check.errors} errors, {check.warnings} with warnings")
        for column in ("what", "file", "found"):
            table.add_column(column, overflow="fold")
        for row in rows[:SHOWN]:
            table.add_row(*row)
        console.print(table)
    elif rows:
        print("\n".join(": ".join(row) for row in rows[:SHOWN]))
    if len(rows) > SHOWN:
        console.print(f"… and {len(rows) - SHOWN} more; --json and --csv name all")
    counts = ", ".join(f"{key} {value}" for key, value in check.counts.items())
    console.print(f"{len(check.files)} files, {check.errors} errors, {check.warnings} with warnings; {counts}", soft_wrap=True)


def print_rates(rates: Mapping[str, float], seconds: Mapping[str, float]) -> None:
    """Samples per second by stage; floors stand at the end."""
    table = Table(title="loading in one process, one thread per stage")
    table.add_column("stage")
    table.add_column("samples/s", justify="right")
    table.add_column("seconds", justify="right")
    for stage in sorted(rates, key=lambda name: name.startswith("floor")):
        table.add_row(stage, f"{rates[stage]:.1f}", f"{seconds[stage]:.2f}")
    console_for(100).print(table)


def print_export(measured: Mapping[str, Any]) -> None:
    """Difference to torch, size and milliseconds per subset and precision."""
    for precision, figures in measured.items():
        megabytes = figures["bytes"] / 1e6
        table = Table(title=f"{precision}, {figures['engine']}, {figures['threads']} threads; all graphs {megabytes:.1f} MB")
        agreement = figures.get("top1_agreement", {})
        for column in ("modalities present", "max |Δ logit|", "of the whole graph", "ms", "torch ms", "same answer"):
            table.add_column(column, justify="left" if column.startswith("mod") else "right")
        for subset, row in figures["subsets"].items():
            differences = [f"{row['max_abs_logit_difference']:.2g}", f"{row['of_whole_graph']:.2g}"]
            times = [f"{row['milliseconds']:.2f}", f"{row['torch_milliseconds']:.2f}"]
            table.add_row(subset, *differences, *times, f"{100 * agreement[subset]:.0f} %" if agreement else "")
        console_for(100).print(table)
