"""Pictures of results, as data URIs for the report and PNG files beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .profile import Cost
from .tables import title_of

matplotlib.use("Agg")
STYLES: dict[str, dict[str, Any]] = {
    "teacher": {"color": "#6b7280", "linestyle": (0, (4, 3)), "marker": "None"},
    "baseline": {"color": "#94a3b8", "linestyle": "-", "marker": "s"},
    "baseline_dropout": {"color": "#d97706", "linestyle": "-", "marker": "^"},
    "karmma": {"color": "#1d4ed8", "linestyle": "-", "marker": "o", "linewidth": 2.4},
}
OTHER_COLOURS = ("#059669", "#be185d", "#7c3aed", "#0891b2", "#65a30d", "#92400e", "#334155", "#eab308")


def style_of(method: str, index: int) -> dict[str, Any]:
    return STYLES.get(method, {"color": OTHER_COLOURS[index % len(OTHER_COLOURS)], "marker": "d"})


def new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
    figure.patch.set_facecolor("white")
    return figure


def tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def plot_sweep(results: Mapping[str, Any], metric: str) -> Figure:
    """Accuracy against the probability that a modality is missing, in the manner of the paper's figure."""
    figure = new_figure(6.4, 4.0)
    axes = figure.subplots()
    for index, (name, method) in enumerate(results["methods"].items()):
        rates = [float(rate) for rate in method["sweep"]]
        means = np.array([entry[metric]["mean"] for entry in method["sweep"].values()], float)
        style = style_of(name, index)
        axes.plot([100 * rate for rate in rates], means, label=title_of(name), markersize=5, **style)
        deviations = [entry[metric]["std"] for entry in method["sweep"].values()]
        if None not in deviations:
            spread = np.array(deviations)
            axes.fill_between(
                [100 * rate for rate in rates], means - spread, means + spread, color=style["color"], alpha=0.15, linewidth=0
            )
    axes.set_xlabel("probability that a modality is missing, %")
    axes.set_ylabel(f"{metric.replace('_', ' ')}, %")
    lowest = axes.dataLim.y0
    axes.set_ylim(bottom=0 if lowest < 40 else lowest - 5)
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def plot_watched(results: Mapping[str, Any], metric: str) -> Figure:
    """The watched split's accuracy while methods train, with all sensors and over subsets; bands: deviation over seeds."""
    figure = new_figure(11.0, 3.6)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, key, title in zip(panels, (metric, f"{metric}_mean_over_subsets"), ("all sensors", "mean over subsets"), strict=True):
        for index, (name, method) in enumerate(results["methods"].items()):
            curve = method.get("watched", {}).get(key, {})
            means = np.array([entry["mean"] for entry in curve.values()], float)
            spread = np.array([entry["std"] or 0.0 for entry in curve.values()])
            epochs, style = [int(epoch) for epoch in curve], style_of(name, index)
            if curve:
                axes.plot(epochs, means, label=title_of(name), markersize=4, **style)
                axes.fill_between(epochs, means - spread, means + spread, color=style["color"], alpha=0.15, linewidth=0)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("epochs")
        tidy(axes)
    for axes in panels:
        axes.set_xlim(left=0)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel(f"{metric.replace('_', ' ')} on {results['settings']['watch']['split']}, %")
    panels[1].legend(frameon=False, fontsize=8)
    return figure


LEGEND_LETTERS = 60  # that fit beside each other above a plot


def plot_subsets(results: Mapping[str, Any], metric: str) -> Figure:
    """One row per subset of modalities, one dot per method, a thin line for the deviation over seeds."""
    methods = results["methods"]
    names = list(next(iter(methods.values()))["subsets"])
    figure = new_figure(6.4, max(0.26 * len(names) + 1.3, 3.2))
    axes = figure.subplots()
    for index, (name, method) in enumerate(methods.items()):
        entries = [method["subsets"][subset][metric] for subset in names]
        rows = np.arange(len(names)) + (index - (len(methods) - 1) / 2) * 0.5 / max(len(methods), 1)
        style = style_of(name, index)
        marker = "|" if style["marker"] == "None" else style["marker"]
        axes.errorbar(
            [np.nan if entry["mean"] is None else entry["mean"] for entry in entries], rows,
            xerr=[entry["std"] or 0 for entry in entries], color=style["color"], marker=marker, linestyle="none",
            markersize=6 if name == "karmma" else 4.5, elinewidth=0.9, label=title_of(name),
        )  # fmt: skip
    axes.set_yticks(np.arange(len(names)), [name.replace("+", " + ") for name in names], fontsize=7.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(f"{metric.replace('_', ' ')}, %")
    letters = sum(len(title_of(name)) for name in methods)
    figure.legend(loc="outside upper center", ncols=4 if letters <= LEGEND_LETTERS else 3, frameon=False, fontsize=8)
    tidy(axes)
    axes.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    return figure


def interval_colour(entry: Mapping[str, float]) -> str:
    """Grey where the interval holds zero, else blue for a gain and red for a loss."""
    if entry["low"] <= 0 <= entry["high"]:
        return "#9ca3af"
    return "#1d4ed8" if entry["difference"] > 0 else "#dc2626"


def plot_differences(comparison: Mapping[str, Any]) -> Figure:
    """Points to the reference with intervals, one row per method; a panel for the mean over subsets and each number of sensors."""
    found = comparison["differences"]
    names = sorted(found, key=lambda name: -found[name]["mean"]["difference"])
    sizes = list(next(iter(found.values()))["by_sensors"])
    titles = ["mean over subsets", *(f"{size} sensor{'s' * (size != '1')}" for size in sizes)]
    figure = new_figure(1.9 + 1.9 * len(titles), 0.32 * len(names) + 1.2)
    panels = figure.subplots(1, len(titles), sharey=True, sharex=True, squeeze=False)[0]
    for axes, title, key in zip(panels, titles, [None, *sizes], strict=True):
        for row, name in enumerate(names):
            entry = found[name]["mean"] if key is None else found[name]["by_sensors"][key]
            colour = interval_colour(entry)
            axes.plot([entry["low"], entry["high"]], [row, row], color=colour, linewidth=2.2, solid_capstyle="round")
            axes.plot(entry["difference"], row, "o", color=colour, markersize=5)
        axes.axvline(0, color="#111827", linewidth=0.8)
        axes.set_title(title, fontsize=8.5)
        axes.tick_params(axis="x", labelsize=8)
        tidy(axes)
        axes.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    panels[0].set_yticks(range(len(names)), [title_of(name) for name in names], fontsize=8)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel(f"points to {title_of(comparison['against'])}, 95 % interval", fontsize=8.5)
    return figure


def plot_costs(costs: Mapping[str, Mapping[str, Cost]], column: str, title: str) -> Figure:
    """Bars of one cost per subset and recognizer, in the manner of the paper's cost figures."""
    names = list(next(iter(costs.values())))
    figure = new_figure(max(0.8 * len(names) + 1.6, 4.5), 3.4)
    axes = figure.subplots()
    width = 0.8 / len(costs)
    for index, (recognizer, rows) in enumerate(costs.items()):
        values = [getattr(rows[name], column) for name in names]
        places = np.arange(len(names)) + (index - (len(costs) - 1) / 2) * width
        color = ("#6b7280", "#1d4ed8")[index % 2]
        bars = axes.bar(places, values, width * 0.92, color=color, label=recognizer)
        axes.bar_label(bars, fmt=lambda value: f"{value:.0f}" if value >= 100 else f"{value:.3g}", fontsize=6.5, padding=1)
    axes.set_xticks(np.arange(len(names)), [name.replace("+", "\n+") for name in names], fontsize=8)
    axes.set_ylabel(title)
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure


def plot_unimodal(results: Mapping[str, Any]) -> Figure:
    """What each sensor tells alone, verb against noun, beside always answering the most frequent class."""
    figure = new_figure(6.4, 3.2)
    axes = figure.subplots()
    heads = [head for head in ("verb", "noun", "action") if f"{head}_top1" in next(iter(results["unimodal"].values()))]
    groups = {**results["unimodal"], "most frequent": results["chance"]}
    for index, head in enumerate(heads):
        values = [group.get(f"{head}_top1") or 0.0 for group in groups.values()]
        places = np.arange(len(groups)) + (index - (len(heads) - 1) / 2) * 0.26
        bars = axes.bar(places, values, 0.24, color=("#1d4ed8", "#d97706", "#6b7280")[index], label=head)
        axes.bar_label(bars, fmt="%.0f", fontsize=7, padding=1)
    axes.set_xticks(np.arange(len(groups)), list(groups))
    axes.set_ylabel("top-1, %")
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure


def plot_confusion(counts: NDArray[np.int64], names: Sequence[str], title: str) -> Figure:
    """Rows are the truth (share of each class), columns the answers."""
    shown = [index for index in range(len(names)) if counts[index].sum() + counts[:, index].sum() > 0]
    shares = counts[np.ix_(shown, shown)] / np.maximum(counts[shown].sum(1, keepdims=True), 1)
    figure = new_figure(max(0.30 * len(shown) + 2.2, 5.0), max(0.27 * len(shown) + 1.6, 3.2))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in zip(*np.nonzero(shares >= 0.05), strict=True):
        axes.text(
            column,
            row,
            f"{100 * shares[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=6,
            color="white" if shares[row, column] > 0.5 else "#111827",
        )
    labels = [names[index] for index in shown]
    axes.set_xticks(np.arange(len(shown)), labels, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(np.arange(len(shown)), labels, fontsize=7)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    axes.set_title(title, fontsize=9)
    return figure


def plot_spectrogram(picture: NDArray[Any]) -> Figure:
    """A log-mel picture `(bands, frames)`, low bands at the bottom."""
    figure = Figure(figsize=(3.2, 1.2), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(np.asarray(picture, np.float32), origin="lower", aspect="auto", cmap="magma")
    axes.axis("off")
    return figure


def plot_joints(poses: NDArray[np.float32], bones: Sequence[tuple[int, int]]) -> Figure:
    """Poses `(frames, joints, 2)` next to each other, all to one scale; joints that are nan are not there."""
    figure = Figure(figsize=(1.3 * len(poses), 1.2), dpi=110)
    seen = poses[~np.isnan(poses).any(-1)]
    low, high = (seen.min(0), seen.max(0)) if len(seen) else (np.zeros(2), np.ones(2))
    middle, half = (low + high) / 2, max(float((high - low).max()) / 2, 1e-6) * 1.08
    for place, pose in enumerate(poses):
        axes = figure.add_axes((place / len(poses), 0, 1 / len(poses), 1), aspect="equal")
        for one, other in bones:
            axes.plot(*pose[[one, other]].T, color="#2563eb", linewidth=1)
        axes.plot(*pose.T, ".", color="#1e3a8a", markersize=2)
        axes.set_xlim(middle[0] - half, middle[0] + half)
        axes.set_ylim(middle[1] - half, middle[1] + half)
        axes.axis("off")
    return figure


def png_of(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_of(figure))


def data_uri(figure: Figure) -> str:
    return image_uri(png_of(figure), "png")


def image_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()
